from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskKey
from dragonfly.errors import CapacityError, UsageError
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.store.store import Store
from dragonfly.testing.clock import ManualClock
from unit.store.blobs import PIECE, content, filled, key, layout, put, roomy


def opened(root: Path, clock: ManualClock | None = None, **settings: object) -> Store:
    return Store(root, roomy(**settings), wall=clock or ManualClock(1_000_000.0))


def test_what_was_pulled_is_there_after_a_restart(tmp_path: Path) -> None:
    store = opened(tmp_path)
    filled(store, "whole")
    filled(store, "unsealed", sealed=False)
    put(store.create(key("part"), layout(4), BlobMeta(version="v")), 2)
    store.close()
    store = opened(tmp_path)
    assert store.recovered == []
    assert sorted(store.keys()) == ["url-part", "url-unsealed", "url-whole"]
    whole, part = store.get(key("whole")), store.get(key("part"))
    assert whole is not None
    assert whole.sealed
    assert part is not None
    assert (part.have, part.meta.version) == (0b100, "v")
    assert store.used_bytes() == 9 * PIECE
    store.close()


def test_what_is_whole_is_synced_some_time_later_or_at_the_end(tmp_path: Path) -> None:
    store = opened(tmp_path, sync_after_s=0.3)
    blob = filled(store, "later")
    assert not Blob.recover(blob.folder).sealed, "not while others pull"
    deadline = time.monotonic() + 5
    while not Blob.recover(blob.folder).sealed:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    store.close()
    store = opened(tmp_path, sync_after_s=600.0)
    blob = filled(store, "end")
    store.close()
    assert Blob.recover(blob.folder).sealed


def test_the_same_layout_is_a_resume_and_another_one_a_new_beginning(tmp_path: Path) -> None:
    store = opened(tmp_path)
    first = filled(store, "a", sealed=False)
    assert store.create(key("a"), layout(4), BlobMeta()) is first
    other = store.create(key("a"), PieceLayout(4 * PIECE, 2 * PIECE), BlobMeta())
    assert other.have == 0
    assert store.get(key("a")) is other
    store.close()


def test_a_second_process_is_refused_by_name(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", f"""
from pathlib import Path; from dragonfly.store.store import Store
store = Store(Path({str(tmp_path)!r})); print("open", flush=True); input()
"""],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(UsageError) as refused:
            opened(tmp_path)
        assert str(other.pid) in str(refused.value)
        assert "--data-dir" in str(refused.value)
        other.kill()
    opened(tmp_path).close()  # a killed process leaves no lock behind


def test_two_stores_of_one_process_are_refused_too(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(UsageError, match="in use"):
        opened(tmp_path)
    store.close()


def test_a_place_that_can_not_be_used_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="data directory"):
            opened(root)
    (tmp_path / "taken" / "lock").mkdir(parents=True)
    with pytest.raises(UsageError, match="data directory"):
        opened(tmp_path / "taken")


def test_the_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o755)
    store = opened(tmp_path / "d")
    blob = filled(store, "a")
    assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
    assert blob.path.stat().st_mode & 0o077 == 0
    store.close()


def test_what_can_not_be_used_is_dropped_with_a_word_and_only_once(tmp_path: Path) -> None:
    store = opened(tmp_path)
    broken, other = filled(store, "broken"), filled(store, "other")
    filled(store, "good")
    store.close()
    os.truncate(broken.path, 10)
    other.folder.rename(other.folder.with_name("url-renamed"))
    (tmp_path / "tasks" / "stray-file").write_text("what?")
    (tmp_path / "tasks" / "empty").mkdir()
    store = opened(tmp_path)
    assert len(store.recovered) == 4
    assert store.keys() == ["url-good"]
    store.close()
    store = opened(tmp_path)
    assert store.recovered == []
    store.close()


def test_a_deletion_that_a_crash_cut_short_is_ended_at_the_next_start(tmp_path: Path) -> None:
    grave = tmp_path / "gone-url-a-1"
    grave.mkdir(parents=True)
    (grave / "data").write_bytes(b"x" * 100)
    store = opened(tmp_path)
    assert not grave.exists()
    store.close()


def test_who_reads_a_removed_blob_goes_on_reading(tmp_path: Path) -> None:
    store = opened(tmp_path)
    blob = filled(store, "a")
    blob.pin()
    assert store.remove(key("a"))
    assert not store.remove(key("a"))
    assert os.pread(blob.fileno(), 5, 0) == content(0, 5)
    fresh = store.create(key("a"), layout(4), BlobMeta())
    assert fresh.have == 0
    blob.unpin()
    assert blob.fileno() == -1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "tasks"]
    store.close()


def test_a_blob_whose_folder_somebody_deleted_can_be_removed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    blob = filled(store, "a", sealed=False)
    for file in blob.folder.iterdir():
        file.unlink()
    blob.folder.rmdir()
    assert store.remove(key("a"))
    assert store.keys() == []
    store.close()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x"])
def test_a_key_can_not_leave_the_directory(tmp_path: Path, name: str) -> None:
    store = opened(tmp_path)
    with pytest.raises(UsageError):
        store.create(TaskKey(name), layout(1), BlobMeta())
    store.close()


# ---------------------------------------------------------------- room


def test_the_least_recently_used_go_first_and_pinned_ones_stay(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000.0)
    store = opened(tmp_path, clock, disk_limit=16 * PIECE)
    for name in "abc":
        filled(store, name)
        clock.advance(10)
    store.get(key("a"))
    blob = store.get(key("b"))
    assert blob is not None
    blob.pin()
    clock.advance(10)
    store.create(key("d"), layout(8), BlobMeta())
    assert sorted(store.keys()) == ["url-b", "url-d"]  # c went before a; both had to, b is in use
    store.close()


def test_the_order_of_use_outlives_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000.0)
    store = opened(tmp_path, clock)
    for name in "abc":
        filled(store, name, sealed=False)
    for name in "cab":
        clock.advance(100)
        store.get(key(name))
    store.close()
    store = opened(tmp_path, clock, disk_limit=10 * PIECE)
    clock.advance(100)
    assert store.collect() == ["url-c"]
    store.close()


def test_more_than_the_quota_is_refused_with_a_word_and_costs_nobody_its_pins(tmp_path: Path) -> None:
    store = opened(tmp_path, disk_limit=8 * PIECE)
    filled(store, "a").pin()
    with pytest.raises(CapacityError, match="--disk-limit"):
        store.create(key("b"), layout(5), BlobMeta())
    assert store.keys() == ["url-a"]
    store.create(key("b"), layout(4), BlobMeta())
    store.close()


def test_what_running_pulls_have_still_to_write_counts(tmp_path: Path) -> None:
    store = opened(tmp_path, disk_limit=8 * PIECE)
    store.create(key("a"), layout(6), BlobMeta()).pin()
    with pytest.raises(CapacityError, match="quota"):
        store.create(key("b"), layout(6), BlobMeta())
    store.close()


def test_a_blob_larger_than_the_disk_is_refused_before_a_byte(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(CapacityError, match="not enough room"):
        store.create(key("huge"), PieceLayout(1 << 60, 4 << 20), BlobMeta())
    assert store.keys() == []
    store.close()


def test_what_is_unused_for_long_goes_and_pinned_ones_stay(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000.0)
    store = opened(tmp_path, clock, ttl_s=60.0)
    filled(store, "old")
    filled(store, "in-use").pin()
    clock.advance(50)
    filled(store, "young")
    assert store.collect() == []
    clock.advance(11)
    assert store.collect() == ["url-old"]
    store.close()


def test_what_was_opened_just_now_is_not_collected_before_it_can_be_pinned(tmp_path: Path) -> None:
    clock = ManualClock(1_000_000.0)
    store = opened(tmp_path, clock, disk_limit=5 * PIECE)
    filled(store, "a", 2)
    store.settings = roomy(disk_limit=1)
    assert store.collect() == []
    clock.advance(5)
    assert store.collect() == ["url-a"]
    store.close()


def test_threads_create_seal_and_remove_at_once(tmp_path: Path) -> None:
    store = opened(tmp_path, disk_limit=128 * PIECE)

    def work(number: int) -> None:
        for turn in range(10):
            name = f"{number}-{turn}"
            blob = store.create(key(name), layout(4), BlobMeta())
            blob.pin()
            try:
                for index in range(4):
                    put(blob, index)
                store.seal(blob)
            finally:
                blob.unpin()
            store.get(key(name))
            store.collect()
            if turn % 3 == 0:
                store.remove(key(name))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert store.used_bytes() <= 128 * PIECE
    store.close()
    store = opened(tmp_path)
    assert store.recovered == []
    assert all(blob.sealed and blob.verify() == 0 for blob in store.blobs())
    store.close()


def test_sealing_while_the_store_closes_is_no_error(tmp_path: Path) -> None:
    store = opened(tmp_path)
    blob = filled(store, "a", sealed=False)
    store.close()
    store.seal(blob)
