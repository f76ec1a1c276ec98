"""All blobs of one node.

    ROOT/lock            one process at a time
    ROOT/tasks/KEY/data  the bytes, sparse until complete
    ROOT/tasks/KEY/journal

Synchronous on purpose: its calls are short (one `pwrite`, one `write`), are made from worker
threads as well as from the event loop, and what is long (`sync`) has a thread of its own, some seconds later.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskKey
from dragonfly.errors import CapacityError, IntegrityError, UsageError
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.store.settings import StoreSettings
from dragonfly.store.space import Stored, plan

__all__ = ["Store"]

_MARGIN = 16 * 1024 * 1024
_FRESH_S = 2.0


class Store:
    """Opens `root` (made if missing, mode 0700) and what an earlier process left there.

    `recovered` says in words what had to be dropped. UsageError where another process has it.
    """

    def __init__(
        self, root: Path, settings: StoreSettings | None = None, *, wall: Callable[[], float] = time.time
    ) -> None:
        self.root = root
        self.settings = settings or StoreSettings()
        self.recovered: list[str] = []
        self._wall = wall
        self._blobs: dict[TaskKey, Blob] = {}
        self._lock = threading.RLock()
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._closing = threading.Event()
        self._tasks = root / "tasks"
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._tasks.mkdir(exist_ok=True)
            for folder in (root, self._tasks):
                folder.chmod(0o700)  # one that exists with wider rights is narrowed
        except OSError as error:
            raise UsageError(
                "the data directory can't be used", subject=str(root), advice=f"{error.strerror}; choose --data-dir"
            ) from error
        self._take_lock()
        self._recover()

    def _take_lock(self) -> None:
        try:
            self._lock_fd = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                "the data directory can't be used", subject=str(self.root), advice=error.strerror or str(error)
            ) from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock_fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock_fd)
            raise UsageError(
                "the data directory is in use",
                subject=str(self.root),
                advice=f"stop process {holder or '?'}, or give this one its own --data-dir",
            ) from None
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def _recover(self) -> None:
        for grave in self.root.glob("gone-*"):
            shutil.rmtree(grave, ignore_errors=True)  # its deletion was cut short
        for folder in sorted(self._tasks.iterdir()):
            try:
                blob = Blob.recover(folder)
                if blob.folder.name != blob.key:
                    blob.close()
                    raise IntegrityError("the journal is of another task", subject=str(folder))
            except (IntegrityError, OSError) as error:
                self.recovered.append(f"{folder.name}: dropped, {error}")
                if folder.is_dir() and not folder.is_symlink():
                    shutil.rmtree(folder, ignore_errors=True)
                else:
                    with contextlib.suppress(OSError):
                        folder.unlink()
                continue
            self._blobs[blob.key] = blob

    # ---------------------------------------------------------------- blobs

    def get(self, key: TaskKey) -> Blob | None:
        """The blob in whatever state it is; it counts as used now."""
        with self._lock:
            blob = self._blobs.get(key)
            if blob is not None:
                self.touch(blob)
            return blob

    def create(self, key: TaskKey, layout: PieceLayout, meta: BlobMeta) -> Blob:
        """The blob of `key`: the one that is here if it has the same layout (a resume), else a new, empty one.

        CapacityError where it can't fit even when everything unused is deleted.
        """
        if "/" in key or key in ("", ".", ".."):
            raise UsageError("not a task key", subject=repr(key))
        with self._lock:
            blob = self._blobs.get(key)
            if blob is not None:
                if blob.layout == layout:
                    if meta != blob.meta:
                        blob.update_meta(msgspec.structs.replace(meta, checked_at=self._wall()))
                    return blob
                self.remove(key)
            self._make_room(layout.length)
            blob = Blob.create(self._tasks / key, key, layout, msgspec.structs.replace(meta, checked_at=self._wall()))
            blob.used_at = self._wall()
            self._blobs[key] = blob
            return blob

    def seal(self, blob: Blob) -> None:
        """The whole is checked: it is a cached blob from now on, and brought to the disk in the background."""
        blob.seal()
        with contextlib.suppress(RuntimeError):  # this store is being closed: hashed again at the next start
            self._syncing.submit(self._sync, blob, time.monotonic() + self.settings.sync_after_s)

    def _sync(self, blob: Blob, due: float) -> None:
        self._closing.wait(max(0.0, due - time.monotonic()))
        try:
            blob.sync()
        except (OSError, CapacityError) as error:
            # Not on the disk for sure: it would have to be hashed again after a power loss, no more.
            self.recovered.append(f"{blob.key}: not synced, {error}")

    def checked(self, blob: Blob) -> None:
        """Its source has just said that the blob is current."""
        blob.update_meta(msgspec.structs.replace(blob.meta, checked_at=self._wall()))

    def touch(self, blob: Blob) -> None:
        now = self._wall()
        if now - blob.used_at > 1.0:
            blob.used_at = now
            with contextlib.suppress(OSError):
                os.utime(blob.folder / "journal", (now, now))

    def keys(self) -> list[TaskKey]:
        with self._lock:
            return list(self._blobs)

    def blobs(self) -> list[Blob]:
        with self._lock:
            return list(self._blobs.values())

    def remove(self, key: TaskKey) -> bool:
        """Delete a blob; who has it open can go on reading. Whether there was one."""
        with self._lock:
            blob = self._blobs.pop(key, None)
            if blob is None:
                return False
            blob.removed = True
            # Renamed first: a new blob of the same key may be made before this one is gone.
            grave = self._tasks.parent / f"gone-{key}-{id(blob)}"
            try:
                os.rename(blob.folder, grave)
            except OSError:
                grave = blob.folder  # somebody has tidied up by hand: what is left goes
            shutil.rmtree(grave, ignore_errors=True)
            if blob.pins <= 0:
                blob.close()
            return True

    # ---------------------------------------------------------------- space

    def used_bytes(self) -> int:
        with self._lock:
            return sum(blob.size_on_disk for blob in self._blobs.values())

    def collect(self) -> list[TaskKey]:
        """Delete what is too old or too much, least recently used first, nothing that is in use."""
        # Called beside the event loop, so what was opened just now may not be pinned yet.
        return self._evict(0, spare_s=_FRESH_S)

    def _promised(self) -> int:
        """Bytes that running pulls have still to write."""
        return sum(blob.layout.length - blob.size_on_disk for blob in self._blobs.values() if blob.pins > 0)

    def _evict(self, extra: int, *, spare_s: float = 0.0) -> list[TaskKey]:
        with self._lock:
            now = self._wall()
            stored = [
                Stored(blob.key, blob.size_on_disk, blob.used_at, blob.pins > 0 or 0 <= now - blob.used_at < spare_s)
                for blob in self._blobs.values()
            ]
            gone = plan(
                stored,
                now=now,
                limit=self.settings.disk_limit,
                low_water=self.settings.low_water,
                disk_free=shutil.disk_usage(self.root).free,
                keep_free=self.settings.keep_free,
                ttl_s=self.settings.ttl_s,
                extra=extra + self._promised(),
            )
            for key in gone:
                self.remove(key)
            return gone

    def _make_room(self, length: int) -> None:
        self._evict(length)
        promised = self._promised()
        free = shutil.disk_usage(self.root).free - promised
        if free < length + _MARGIN:
            raise CapacityError(
                "not enough room on the disk",
                subject=f"{self.root}: {length:,} bytes wanted, {max(0, free):,} free",
                advice="free some, or put --data-dir on a larger disk",
            )
        limit = self.settings.disk_limit
        if limit and self.used_bytes() + promised + length > limit:
            raise CapacityError(
                "the quota is too small",
                subject=f"{length:,} bytes wanted, --disk-limit is {limit:,} and what is in use stays",
                advice="raise --disk-limit",
            )

    def close(self) -> None:
        """Sync what is sealed and let go of the directory."""
        self._closing.set()
        self._syncing.shutdown(wait=True)
        with self._lock:
            for blob in self._blobs.values():
                blob.close()
            self._blobs.clear()
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1
