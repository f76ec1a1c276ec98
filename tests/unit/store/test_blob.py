from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragonfly.core import bitmap
from dragonfly.core.validators import Validators
from dragonfly.errors import CapacityError, IntegrityError, StoppedError
from dragonfly.store import journal
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.store.journal import Kind
from unit.store.blobs import PIECE, after_another_boot, content, key, layout, put


def made(folder: Path, pieces: int = 4, last: int = PIECE) -> Blob:
    return Blob.create(folder / "b", key("b"), layout(pieces, last), BlobMeta(url="http://o/x"))


def again(blob: Blob) -> Blob:
    blob.close()
    return Blob.recover(blob.folder)


@contextlib.contextmanager
def longest_file(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size`: as good as a full disk, and needs no root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_was_marked_is_there_after_a_restart(tmp_path: Path) -> None:
    blob = made(tmp_path, last=10)
    put(blob, 3)
    put(blob, 1)
    blob.learn(0, hashlib.sha256(b"not here yet").digest())
    blob.update_meta(BlobMeta(url="http://o/x", validators=Validators(etag='"1"'), version="v1"))
    found = again(blob)
    assert found.have == 0b1010
    assert found.size_on_disk == PIECE + 10
    assert found.digest_of(0) == hashlib.sha256(b"not here yet").digest()
    assert found.digest_of(3) == hashlib.sha256(content(3, 10)).digest()
    assert found.digest_of(2) == bytes(32)
    assert found.meta.validators.etag == '"1"'
    assert not found.sealed
    found.close()


def test_the_journal_torn_at_any_byte_leaves_a_blob_that_goes_on(tmp_path: Path) -> None:
    blob = made(tmp_path)
    for index in range(4):
        put(blob, index)
    blob.seal()
    blob.sync()
    blob.close()
    log = blob.folder / "journal"
    data = log.read_bytes()
    ends = [end for _, _, end in journal.records(data)]
    for cut in range(len(data)):
        log.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        if whole == 0:
            with pytest.raises(IntegrityError):
                Blob.recover(blob.folder)
            continue
        found = Blob.recover(blob.folder)
        assert found.have == bitmap.full(min(whole - 1, 4))
        assert not found.sealed
        put(found, 3)
        assert again(found).have == found.have  # what is appended now is not hidden by the torn record
        found.close()


def test_a_record_that_makes_no_sense_drops_the_blob_not_the_process(tmp_path: Path) -> None:
    for number, payload in enumerate((b"", b"x", struct.pack("!I32s", 99, bytes(32)))):
        folder = tmp_path / str(number)
        folder.mkdir()
        blob = made(folder)
        blob.close()
        log = blob.folder / "journal"
        for kind in (Kind.MARK, Kind.LEARN, Kind.META):
            log.write_bytes(log.read_bytes() + journal.record(kind, payload))
            with contextlib.suppress(IntegrityError):
                Blob.recover(blob.folder).close()


def test_a_data_file_of_another_length_is_not_believed(tmp_path: Path) -> None:
    blob = made(tmp_path)
    put(blob, 0)
    blob.close()
    before = descriptors()
    for size in (0, PIECE, 4 * PIECE - 1, 4 * PIECE + 1):
        os.truncate(blob.path, size)
        with pytest.raises(IntegrityError, match="another length"):
            Blob.recover(blob.folder)
    blob.path.unlink()
    with pytest.raises(OSError, match="data"):
        Blob.recover(blob.folder)
    assert descriptors() == before


def test_after_another_boot_only_what_is_really_on_the_disk_counts(tmp_path: Path) -> None:
    blob = made(tmp_path)
    for index in range(3):
        put(blob, index)
    os.pwrite(blob.fileno(), b"\0" * 100, PIECE + 5)  # a power loss before the page reached the disk
    blob.close()
    after_another_boot(blob.folder)
    found = Blob.recover(blob.folder)
    assert found.have == 0b101
    assert found.size_on_disk == 2 * PIECE
    found.close()


def test_in_the_same_boot_the_page_cache_is_believed(tmp_path: Path) -> None:
    blob = made(tmp_path)
    put(blob, 0)
    assert again(blob).have == 1


def test_bit_rot_is_found_by_verify(tmp_path: Path) -> None:
    blob = made(tmp_path, last=17)
    for index in range(4):
        put(blob, index)
    blob.seal()
    blob.sync()
    found = again(blob)
    assert found.verify() == 0
    os.pwrite(found.fileno(), b"?", 3 * PIECE + 16)
    os.pwrite(found.fileno(), b"?", PIECE)
    assert found.verify() == 0b1010
    found.close()


def test_a_killed_writer_loses_nothing_that_it_had_marked(tmp_path: Path) -> None:
    program = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
from pathlib import Path
from blobs import *
blob = Blob.create(Path({str(tmp_path / "b")!r}), key("b"), layout(2000), BlobMeta())
for index in range(2000):
    put(blob, index)
    print(index, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(100)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout.read().split("\n")[:-1] if line]
    found = Blob.recover(tmp_path / "b")
    assert all(found.have >> index & 1 for index in said)
    assert found.have.bit_count() - len(said) in (0, 1)
    assert found.verify() == 0
    found.close()


# ---------------------------------------------------------------- a full disk


def test_a_full_disk_is_a_capacity_error_and_nothing_is_left_of_a_blob_that_could_not_begin(tmp_path: Path) -> None:
    before = descriptors()
    with longest_file(2 * PIECE), pytest.raises(CapacityError, match="the disk is full"):
        made(tmp_path)
    assert not (tmp_path / "b").exists()
    assert descriptors() == before
    made(tmp_path).close()


def test_a_journal_that_could_not_be_written_to_its_end_hides_nothing_that_comes_later(tmp_path: Path) -> None:
    blob = made(tmp_path)
    put(blob, 0)
    size = (blob.folder / "journal").stat().st_size
    data = content(1)
    blob.write(PIECE, data)
    # The record of a piece is 45 bytes: this leaves room for the first 20.
    with longest_file(size + 20), pytest.raises(CapacityError):
        blob.mark(1, hashlib.sha256(data).digest())
    assert blob.have == 0b1
    assert (blob.folder / "journal").stat().st_size == size
    put(blob, 1)
    put(blob, 2)
    assert again(blob).have == 0b111


def test_a_write_beyond_the_room_there_is_marks_nothing(tmp_path: Path) -> None:
    blob = made(tmp_path)
    with longest_file(PIECE), pytest.raises(CapacityError):
        blob.write(PIECE, content(1))
    assert blob.have == 0
    blob.close()


# ---------------------------------------------------------------- threads


def test_threads_write_different_pieces_at_once(tmp_path: Path) -> None:
    blob = made(tmp_path, 256)
    threads = [
        threading.Thread(target=lambda n=n: [put(blob, i) for i in range(n % 4, 256, 4)])  # type: ignore[misc]
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blob.complete
    assert blob.size_on_disk == 256 * PIECE
    found = again(blob)
    assert found.complete
    assert found.verify() == 0
    assert sum(kind is Kind.MARK for kind, _, _ in journal.records((blob.folder / "journal").read_bytes())) == 256
    found.close()


def test_a_write_to_a_closed_blob_is_refused_and_never_lands_in_another_file(tmp_path: Path) -> None:
    blob = made(tmp_path)
    blob.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)  # takes the number of the closed one
    try:
        with pytest.raises(StoppedError):
            blob.write(0, b"astray")
        assert os.fstat(other).st_size == 0
    finally:
        os.close(other)


def test_closing_while_threads_write_leaves_no_descriptor(tmp_path: Path) -> None:
    before = descriptors()
    for round_ in range(20):
        folder = tmp_path / str(round_)
        folder.mkdir()
        blob = made(folder, 64)

        def write(blob: Blob = blob) -> None:
            with contextlib.suppress(StoppedError):
                for index in range(64):
                    put(blob, index)

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        blob.close()
        for thread in threads:
            thread.join()
    assert descriptors() == before


# ---------------------------------------------------------------- digests


def test_what_is_known_of_a_digest_is_not_overwritten(tmp_path: Path) -> None:
    blob = made(tmp_path)
    one, two = b"\1" * 32, b"\2" * 32
    blob.learn(1, one)
    blob.learn(0, two + two)
    assert [blob.digest_of(index) for index in range(2)] == [two, one]
    blob.close()


@pytest.mark.parametrize(("first", "digests"), [(0, b"\1" * 33), (-1, b"\1" * 32), (-2, b"\1" * 32), (3, b"\1" * 64)])
def test_digests_that_do_not_fit_change_nothing(tmp_path: Path, first: int, digests: bytes) -> None:
    blob = made(tmp_path)
    blob.learn(0, b"\2" * 32)
    blob.learn(first, digests)
    assert len(blob.digests) == 4 * 32
    assert blob.digests == b"\2" * 32 + bytes(96)
    blob.close()


def test_an_empty_blob_is_complete_at_once(tmp_path: Path) -> None:
    blob = made(tmp_path, 0)
    assert blob.complete
    blob.seal()
    blob.sync()
    found = again(blob)
    assert found.sealed
    assert repr(found) == "<Blob url-b… sealed 0/0 pieces>"
    found.close()


def test_a_seal_is_only_lasting_after_the_sync(tmp_path: Path) -> None:
    blob = made(tmp_path, 1)
    put(blob, 0)
    blob.seal()
    assert not again(blob).sealed
    blob = Blob.recover(blob.folder)
    blob.seal()
    blob.sync()
    assert again(blob).sealed
