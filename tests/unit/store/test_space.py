from __future__ import annotations

from dragonfly.core.task import TaskKey
from dragonfly.store.space import Stored, plan


def stored(*sizes: int, pinned: tuple[int, ...] = ()) -> list[Stored]:
    return [Stored(TaskKey(str(n)), size, float(n), n in pinned) for n, size in enumerate(sizes)]


def test_nothing_goes_while_there_is_room() -> None:
    assert plan(stored(10, 10), now=9, limit=20) == []
    assert plan(stored(10, 10), now=9, limit=0) == []


def test_it_goes_down_to_the_low_water_mark() -> None:
    assert plan(stored(10, 10, 10, 10), now=9, limit=39, low_water=0.5) == ["0", "1", "2"]


def test_room_is_made_for_what_comes() -> None:
    assert plan(stored(10, 10), now=9, limit=30, low_water=1.0, extra=15) == ["0"]


def test_the_disk_itself_is_a_limit_too() -> None:
    assert plan(stored(10, 10), now=9, limit=0, disk_free=5, keep_free=10) == ["0"]
    assert plan(stored(10, 10), now=9, limit=0, disk_free=25, keep_free=10, extra=30) == ["0", "1"]


def test_what_is_empty_is_not_deleted_for_room() -> None:
    assert plan(stored(0, 10), now=9, limit=5) == ["1"]


def test_what_is_in_use_is_never_in_the_plan() -> None:
    assert plan(stored(10, 10, pinned=(0, 1)), now=1e9, limit=1, ttl_s=1) == []
