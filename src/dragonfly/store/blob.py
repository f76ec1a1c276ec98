"""One blob on disk: a sparse data file written at offsets, and its journal.

Thread-safe: receivers are worker threads. Bytes come first, the mark after them; what is
marked is verified. Within one boot of the machine the page cache outlives any crash of the
process, so marks are believed; after another boot, what was not sealed (and so fsynced) is
hashed again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import struct
import threading
from pathlib import Path
from typing import Self

import msgspec
from typing_extensions import Buffer

from dragonfly.core import bitmap
from dragonfly.core.digest import NO_DIGEST
from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskKey
from dragonfly.core.validators import Validators
from dragonfly.errors import CapacityError, IntegrityError, StoppedError
from dragonfly.store import journal
from dragonfly.store.journal import Kind

__all__ = ["Blob", "BlobMeta", "boot_id"]

_U32 = struct.Struct("!I")


class BlobMeta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the blob is, besides its bytes."""

    url: str = ""
    """Without secrets."""
    digest: str = ""
    headers: dict[str, str] = {}
    validators: Validators = Validators()
    version: str = ""
    ticket: str = ""
    """What neighbours must show to get it."""
    tag: str = ""
    application: str = ""
    checked_at: float = 0.0
    """Wall-clock seconds when the source last said that it is current."""


class _Begin(msgspec.Struct, frozen=True):
    key: str
    length: int
    piece_size: int
    boot: str
    meta: BlobMeta


def boot_id() -> str:
    """This boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class Blob:
    """Made by `Store` only. `have` is a bitmap of the verified pieces."""

    def __init__(self, folder: Path, key: TaskKey, layout: PieceLayout, meta: BlobMeta) -> None:
        self.key = key
        self.layout = layout
        self.meta = meta
        self.folder = folder
        self.path = folder / "data"
        self.have = 0
        self.digests = bytearray(32 * layout.count)
        self.sealed = False
        self.pins = 0
        self.used_at = 0.0
        self._had_bytes = 0
        self._lock = threading.Lock()
        self._data = -1
        self._journal = -1
        self._journal_end = 0
        """Its length: where a record that could not be written whole is cut off again."""
        self._writing = 0
        self._closing = False
        self.removed = False

    # ---------------------------------------------------------------- making and opening

    @classmethod
    def create(cls, folder: Path, key: TaskKey, layout: PieceLayout, meta: BlobMeta) -> Self:
        """A new, empty blob in a folder that does not exist yet."""
        blob = cls(folder, key, layout, meta)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise _no_room(error, folder) from error
        try:
            blob._open_files(os.O_CREAT | os.O_EXCL)
            os.ftruncate(blob._data, layout.length)
            begin = _Begin(key, layout.length, layout.piece_size, boot_id(), meta)
            blob._append(journal.record(Kind.BEGIN, msgspec.msgpack.encode(begin)))
        except BaseException as error:
            # Nothing is left: a folder without its beginning would be in the way of the next try.
            blob.close()
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise _no_room(error, folder) from error
            raise
        return blob

    @classmethod
    def recover(cls, folder: Path) -> Self:
        """Open what an earlier process left. Raises IntegrityError or OSError where it can't be used."""
        log = folder / "journal"
        data = log.read_bytes()
        found = journal.records(data)
        try:
            kind, payload, end = next(found)
            if kind is not Kind.BEGIN:
                raise IntegrityError("a journal without its beginning", subject=str(folder))
            begin = msgspec.msgpack.decode(payload, type=_Begin)
            blob = cls(folder, TaskKey(begin.key), PieceLayout(begin.length, begin.piece_size), begin.meta)
            for kind, payload, after in found:
                blob._replay(kind, payload)
                end = after
        except (StopIteration, ValueError, struct.error, msgspec.DecodeError):
            raise IntegrityError("a journal that can't be read", subject=str(folder)) from None
        try:
            blob._open_files(0)
            if os.fstat(blob._data).st_size != begin.length:
                raise IntegrityError("the data file has another length than it should", subject=str(folder))
            if end < len(data):
                os.ftruncate(blob._journal, end)
            blob._journal_end = end
            blob._had_bytes = sum(blob.layout.size(index) for index in bitmap.indexes(blob.have))
            if not blob.sealed and begin.boot != boot_id():
                blob._rehash()
            blob.used_at = log.stat().st_mtime
        except BaseException:
            blob.close()
            raise
        return blob

    def _open_files(self, flags: int) -> None:
        self._data = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        self._journal = os.open(self.folder / "journal", os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)

    def _replay(self, kind: Kind, payload: bytes) -> None:
        match kind:
            case Kind.MARK:
                index, digest = journal.parse_mark(payload)
                if index < self.layout.count:
                    self.have |= 1 << index
                    self.digests[32 * index : 32 * index + 32] = digest
            case Kind.LEARN:
                self._place_digests(_U32.unpack_from(payload)[0], payload[4:])
            case Kind.META:
                self.meta = msgspec.msgpack.decode(payload, type=BlobMeta)
            case Kind.SEALED:
                self.sealed = self.complete
            case _:
                pass

    def verify(self) -> int:
        """Read every piece again; the bitmap of those whose bytes are not what they were. Long: for a thread."""
        wrong = 0
        for index in bitmap.indexes(self.have):
            data = os.pread(self._data, self.layout.size(index), self.layout.start(index))
            if hashlib.sha256(data).digest() != self.digest_of(index):
                wrong |= 1 << index
        return wrong

    def _rehash(self) -> None:
        """Keep only the pieces whose bytes are really on the disk."""
        for index in bitmap.indexes(self.verify()):
            self.have &= ~(1 << index)
            self._had_bytes -= self.layout.size(index)

    # ---------------------------------------------------------------- pieces

    @property
    def complete(self) -> bool:
        return self.have == bitmap.full(self.layout.count)

    def digest_of(self, index: int) -> bytes:
        """32 bytes; zeros where the digest is not known."""
        return bytes(self.digests[32 * index : 32 * index + 32])

    def write(self, offset: int, data: Buffer) -> None:
        """Put bytes at their place; CapacityError where the disk is full, StoppedError where the blob was
        closed meanwhile."""
        view = memoryview(data)
        with self._lock:
            if self._data < 0 or self._closing:
                raise StoppedError("the blob was closed", subject=self.key)
            self._writing += 1  # else a number that is closed and given to another file gets these bytes
        try:
            while view:
                count = os.pwrite(self._data, view, offset)
                view = view[count:]
                offset += count
        except OSError as error:
            raise _no_room(error, self.folder) from error
        finally:
            self._written()

    def _written(self) -> None:
        with self._lock:
            self._writing -= 1
            if self._closing:
                self._close_files()

    def mark(self, first: int, digests: bytes) -> None:
        """The pieces from `first` on are written and their SHA-256 are `digests` (32 bytes each), as they should be."""
        with self._lock:
            new = [
                (index, digests[at : at + 32])
                for index, at in enumerate(range(0, len(digests), 32), first)
                if not self.have >> index & 1
            ]
            if new:
                self._append(b"".join(journal.mark_record(index, digest) for index, digest in new))
            for index, digest in new:
                self.digests[32 * index : 32 * index + 32] = digest
                self.have |= 1 << index
                self._had_bytes += self.layout.size(index)

    def learn(self, first: int, digests: bytes) -> None:
        """Digests of pieces from `first` on; zeros are skipped."""
        with self._lock:
            if self._place_digests(first, digests):
                self._append(journal.record(Kind.LEARN, _U32.pack(first) + digests))

    def _place_digests(self, first: int, digests: bytes) -> bool:
        """Whether there was news. What is known already is not overwritten."""
        at = 32 * first
        old = bytes(self.digests[at : at + len(digests)])
        if first < 0 or len(digests) % 32 or len(old) < len(digests) or old == digests:
            return False
        if old.count(0) == len(old):
            self.digests[at : at + len(digests)] = digests
            return True
        for offset in range(0, len(digests), 32):
            digest = digests[offset : offset + 32]
            if digest != NO_DIGEST and old[offset : offset + 32] == NO_DIGEST:
                self.digests[at + offset : at + offset + 32] = digest
        return True

    def seal(self) -> None:
        """The whole is checked. `sync` makes that last."""
        self.sealed = True

    def sync(self) -> None:
        """Bring a sealed blob to the disk for good. May take seconds: not for the event loop."""
        with self._lock:
            if not self.sealed or self.removed or self._data < 0:
                return
            data = os.dup(self._data)
        try:
            os.fdatasync(data)
        finally:
            os.close(data)
        with self._lock:
            if not self.removed and self._journal >= 0:
                self._append(journal.record(Kind.SEALED, boot_id().encode("ascii")))
                os.fdatasync(self._journal)

    # ---------------------------------------------------------------- the rest

    def update_meta(self, meta: BlobMeta) -> None:
        with self._lock:
            self.meta = meta
            self._append(journal.record(Kind.META, msgspec.msgpack.encode(meta)))

    def fileno(self) -> int:
        """The data file, open for reading and writing as long as the blob is pinned."""
        return self._data

    @property
    def size_on_disk(self) -> int:
        """Bytes of verified pieces (the file is sparse)."""
        return self._had_bytes

    def pin(self) -> None:
        """It is in use: not to be evicted."""
        with self._lock:
            self.pins += 1

    def unpin(self) -> None:
        with self._lock:
            self.pins -= 1
            if self.removed and self.pins <= 0:
                self._close_files()

    def close(self) -> None:
        with self._lock:
            self._close_files()

    def _close_files(self) -> None:
        """At once, or when the last write is over."""
        self._closing = True
        if self._writing:
            return
        for fd in (self._data, self._journal):
            if fd >= 0:
                os.close(fd)
        self._data = self._journal = -1

    def _append(self, data: bytes) -> None:
        if self._journal < 0:
            return  # removed or closed while a thread was still at work
        try:
            if os.write(self._journal, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            # Half a record would hide all that come after it.
            with contextlib.suppress(OSError):
                os.ftruncate(self._journal, self._journal_end)
            raise _no_room(error, self.folder) from error
        self._journal_end += len(data)

    def __repr__(self) -> str:
        state = "sealed" if self.sealed else "complete" if self.complete else "partial"
        return f"<Blob {self.key[:19]}… {state} {self.have.bit_count()}/{self.layout.count} pieces>"


def _no_room(error: OSError, folder: Path) -> CapacityError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return CapacityError(
            "the disk is full",
            subject=str(folder),
            advice="free some, or lower --disk-limit so that older content goes",
        )
    return CapacityError("the disk can't be written", subject=str(folder), advice=error.strerror or str(error))
