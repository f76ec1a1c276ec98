"""End-to-end tests run last and in their written order; without root they are skipped, with the reason."""

from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    """A shell's background job ignores SIGINT, and so would all that tests start, and mean to interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> tuple[int, str, int]:
        if item.get_closest_marker("e2e") is None:
            return 0, "", 0  # a stable sort: the fast ones keep their random order
        path, line, _ = item.location
        return 1, path, line or 0

    items.sort(key=place)
