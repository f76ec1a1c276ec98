"""Brings a finished blob to the user's path: complete and by rename, or not at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dragonfly.errors import CapacityError, StoppedError, UsageError

__all__ = ["copy_into", "landing", "place", "write_all"]

_FICLONE = 0x40049409
_CHUNK = 64 * 1024 * 1024
_BLOCK = 1024 * 1024


@contextmanager
def landing(target: Path | int) -> Iterator[int]:
    """A descriptor of a new file that becomes `target` when the block ends well, and vanishes otherwise.

    A link is followed, and a file that was there gives its permission bits to the new one. What is
    no file (a pipe, a device, an open descriptor) is written to itself: renaming over /dev/null
    would take it from the whole machine. UsageError where the directory does not exist or
    `target` is one.
    """
    if isinstance(target, int):
        yield target
        return
    if target.is_dir():
        raise UsageError("the output is a directory", subject=str(target), advice="name a file")
    real = Path(os.path.realpath(target))
    there = _mode(real)
    if there is not None and not stat.S_ISREG(there):
        with _opened(target, real, os.O_WRONLY) as fd:
            yield fd
        return
    folder = real.parent
    if not folder.is_dir():
        raise UsageError("no such directory", subject=str(folder), advice="make it first")
    # Names end at 255 bytes, not letters.
    name = os.fsdecode(os.fsencode(real.name)[:200])
    draft = folder / f".{name}.{secrets.token_hex(4)}.part"
    try:
        with _opened(target, draft, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
            if there is not None:
                os.fchmod(fd, stat.S_IMODE(there) & 0o777)
            yield fd
        # Closed by now: some file systems tell only then of writes that were lost.
        os.replace(draft, real)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise CapacityError("the disk is full", subject=str(target), advice="free some") from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except OSError:
        return None


@contextmanager
def _opened(target: Path, path: Path, flags: int) -> Iterator[int]:
    """`path`, open; what goes wrong is told of `target`, the name that the user gave."""
    try:
        fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise UsageError("the output can't be written", subject=str(target), advice=error.strerror or "") from error
    try:
        yield fd
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise
    os.close(fd)


def copy_into(fd: int, source: int, start: int, length: int) -> None:
    """Copy `length` bytes from `start` of descriptor `source`: shared blocks (reflink) where the
    file system can, else inside the kernel, and to what is no file by reads and writes.

    StoppedError where nobody reads the pipe any more."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        _pour(fd, source, start, length)
        return
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


def _pour(fd: int, source: int, start: int, length: int) -> None:
    end = start + length
    while start < end:
        block = os.pread(source, min(_BLOCK, end - start), start)
        if not block:
            raise OSError(errno.EIO, "the stored file is shorter than it should be")
        write_all(fd, memoryview(block))
        start += len(block)


def write_all(fd: int, data: memoryview) -> None:
    """Append `data`, in as many calls as it takes. StoppedError where nobody reads the pipe any more."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        raise StoppedError("the output is not read any more", advice="look at what it was piped into") from None


def place(source: int, target: Path, *, start: int = 0, length: int | None = None) -> None:
    """Bytes [start, start+length) of the open file `source` as the file `target`."""
    size = os.fstat(source).st_size - start if length is None else length
    with landing(target) as fd:
        copy_into(fd, source, start, size)
