from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dragonfly.errors import CapacityError, StoppedError, UsageError
from dragonfly.store.place import copy_into, landing, place, write_all

DATA = os.urandom(300_000)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "stored").write_bytes(DATA)
    fd = os.open(tmp_path / "stored", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_the_whole_arrives(source: int, out: Path) -> None:
    place(source, out / "f")
    assert (out / "f").read_bytes() == DATA
    assert os.listdir(out) == ["f"]


def test_a_part_arrives(source: int, out: Path) -> None:
    place(source, out / "f", start=1000, length=2000)
    assert (out / "f").read_bytes() == DATA[1000:3000]
    place(source, out / "rest", start=299_000)
    assert (out / "rest").read_bytes() == DATA[299_000:]
    place(source, out / "none", start=5, length=0)
    assert (out / "none").read_bytes() == b""


def test_a_file_that_is_there_is_replaced_only_by_the_whole(source: int, out: Path) -> None:
    (out / "f").write_text("old")
    with pytest.raises(OSError, match="shorter"):
        place(source, out / "f", start=0, length=len(DATA) + 1)
    assert (out / "f").read_text() == "old"
    place(source, out / "f")
    assert (out / "f").read_bytes() == DATA
    assert os.listdir(out) == ["f"]


def test_another_file_system_is_reached_by_a_copy(source: int) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == os.fstat(source).st_dev:
        pytest.skip("no second file system here")
    target = shm / f"dragonfly-test-{os.getpid()}"
    try:
        place(source, target, start=10)
        assert target.read_bytes() == DATA[10:]
    finally:
        target.unlink(missing_ok=True)


def test_a_full_disk_leaves_no_half_file(source: int, out: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CapacityError, match="disk is full"):
            place(source, out / "f", start=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(out) == []


def test_an_interrupted_block_leaves_nothing(out: Path) -> None:
    def interrupted() -> None:
        with landing(out / "f") as fd:
            write_all(fd, memoryview(b"half"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(out) == []


def test_a_name_as_long_as_names_can_be(source: int, out: Path) -> None:
    for name in ("x" * 255, "ä" * 127):
        place(source, out / name)
        assert (out / name).stat().st_size == len(DATA)


def test_the_file_has_the_rights_that_the_user_gives_new_files(source: int, out: Path) -> None:
    old = os.umask(0o027)
    try:
        place(source, out / "f")
    finally:
        os.umask(old)
    assert stat.S_IMODE((out / "f").stat().st_mode) == 0o640


def test_a_place_that_is_none_is_a_usage_error(source: int, out: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        place(source, out)
    with pytest.raises(UsageError, match="no such directory"):
        place(source, out / "missing" / "f")


def test_a_link_is_followed_and_a_file_keeps_its_permission_bits(source: int, out: Path) -> None:
    (out / "real").write_text("old")
    (out / "real").chmod(0o600)
    (out / "link").symlink_to("real")
    (out / "dangling").symlink_to("later")
    place(source, out / "link")
    place(source, out / "dangling")
    assert (out / "link").is_symlink()
    assert (out / "real").read_bytes() == (out / "later").read_bytes() == DATA
    assert stat.S_IMODE((out / "real").stat().st_mode) == 0o600
    assert sorted(os.listdir(out)) == ["dangling", "later", "link", "real"]


def test_what_is_no_file_is_written_to_and_stays_what_it_is(source: int, out: Path) -> None:
    os.mkfifo(out / "pipe")
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit((out / "pipe").read_bytes)
        place(source, out / "pipe", start=7)
        assert got.result(10) == DATA[7:]
    assert stat.S_ISFIFO((out / "pipe").lstat().st_mode)
    assert os.listdir(out) == ["pipe"]


def test_a_pipe_that_nobody_reads_any_more_is_told(source: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with landing(writer) as fd, pytest.raises(StoppedError, match="not read any more"):
            copy_into(fd, source, 0, len(DATA))
    finally:
        os.close(writer)


def test_a_write_that_is_lost_at_the_close_makes_no_file(
    source: int, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, or over a quota: the writes went well, and close() tells that they did not."""
    close = os.close

    def full(fd: int) -> None:
        writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
        close(fd)
        if writable:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    (out / "f").write_text("old")
    monkeypatch.setattr(os, "close", full)
    with pytest.raises(CapacityError, match="disk is full"):
        place(source, out / "f")
    monkeypatch.undo()
    assert (out / "f").read_text() == "old"
    assert os.listdir(out) == ["f"]
