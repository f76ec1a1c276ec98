"""Brings a finished blob to the user's path: complete and by rename, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dragonfly.errors import CapacityError, UsageError

__all__ = ["copy_into", "landing", "place", "write_all"]

_FICLONE = 0x40049409
_CHUNK = 64 * 1024 * 1024


@contextmanager
def landing(target: Path) -> Iterator[int]:
    """A descriptor of a new file that becomes `target` when the block ends well, and vanishes otherwise.

    UsageError where the directory does not exist or `target` is one.
    """
    if target.is_dir():
        raise UsageError("the output is a directory", subject=str(target), advice="name a file")
    folder = target.parent
    if not folder.is_dir():
        raise UsageError("no such directory", subject=str(folder), advice="make it first")
    # Names end at 255 bytes, not letters.
    name = os.fsdecode(os.fsencode(target.name)[:200])
    draft = folder / f".{name}.{secrets.token_hex(4)}.part"
    try:
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError("the output can't be written", subject=str(target), advice=error.strerror or "") from error
    try:
        yield fd
        os.replace(draft, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise CapacityError("the disk is full", subject=str(target), advice="free some") from error
        raise
    finally:
        os.close(fd)
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


def copy_into(fd: int, source: int, start: int, length: int) -> None:
    """Copy `length` bytes from `start` of descriptor `source`: shared blocks (reflink) where the
    file system can, else inside the kernel."""
    if start == 0 and length == os.fstat(source).st_size:
        with contextlib.suppress(OSError):
            fcntl.ioctl(fd, _FICLONE, source)
            return
    done = 0
    while done < length:
        want = min(_CHUNK, length - done)
        try:
            count = os.copy_file_range(source, fd, want, start + done, done)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            count = os.sendfile(fd, source, start + done, want) if os.lseek(fd, done, os.SEEK_SET) == done else 0
        if count == 0:
            raise OSError(errno.EIO, "the stored file is shorter than it should be")
        done += count


def write_all(fd: int, data: memoryview) -> None:
    """Append `data`, in as many calls as it takes."""
    while data:
        data = data[os.write(fd, data) :]


def place(source: int, target: Path, *, start: int = 0, length: int | None = None) -> None:
    """Bytes [start, start+length) of the open file `source` as the file `target`."""
    size = os.fstat(source).st_size - start if length is None else length
    with landing(target) as fd:
        copy_into(fd, source, start, size)
