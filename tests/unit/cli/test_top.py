"""`dragonfly top`, looked at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragonfly.cli.top import _Rates
from dragonfly.errors import UsageError
from dragonfly.wire.local import TaskLine
from unit.cli.test_cache import key, said

__all__ = ["key"]


def test_one_look_shows_each_task(data_dir: Path, key: str) -> None:
    shown = said("top", "--once", "--data-dir", str(data_dir)).stdout
    assert "dfdaemon" in shown
    assert key[:6] in shown
    assert "source" in shown


def test_without_a_terminal_it_looks_once(data_dir: Path) -> None:
    assert "dfdaemon" in said("top", "--data-dir", str(data_dir)).stdout


def test_a_pause_that_is_none(data_dir: Path) -> None:
    with pytest.raises(UsageError):
        said("top", "--every", "soon", "--data-dir", str(data_dir))


def test_rates_are_of_the_time_between_two_looks() -> None:
    def line(done: int) -> TaskLine:
        return TaskLine(key="a", url="", state="pulling", done=done)

    rates = _Rates()
    assert rates.of(line(1000), 10.0) == 0.0
    assert rates.of(line(3000), 12.0) == 1000.0
    assert rates.of(line(3000), 12.0) == 0.0
    assert rates.of(line(0), 13.0) == 0.0, "begun anew"
