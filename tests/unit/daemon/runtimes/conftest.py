"""A host below a temporary root, and where its setups are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragonfly.daemon.runtimes.host import Host

__all__ = ["HOSTS", "put"]

HOSTS = "127.0.0.1 localhost\n"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    host = Host(tmp_path / "root")
    put(host, "/etc/hosts", HOSTS)
    return host


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "data" / "setup"


def put(host: Host, path: str, text: str) -> None:
    """Somebody wrote this on the host before."""
    host.path(path).parent.mkdir(parents=True, exist_ok=True)
    host.path(path).write_text(text)
