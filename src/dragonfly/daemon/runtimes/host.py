"""The file system that is set up: `/` on the host itself, or where the host's own is mounted.

Links lead where they lead on the host, also absolute ones and those in the middle of a path; a file is
written whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dragonfly.errors import UsageError

__all__ = ["Host", "write_whole"]

_MOST_LINKS = 40  # as many as Linux follows


class Host:
    """Names are the host's absolute paths; a file that is not there reads as None, and so is it written."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where `name` is for us. UsageError for links that go in a circle."""
        path, links = self.root, 0
        rest = _parts(name)
        while rest:
            part = rest.pop()
            if part == "..":
                path = path if path == self.root else path.parent
                continue
            step = path / part
            if not os.path.islink(step):
                path = step
                continue
            links += 1
            if links > _MOST_LINKS:
                raise UsageError("symbolic links without an end", subject=str(step))
            target = os.readlink(step)
            path = self.root if target.startswith("/") else path
            rest += _parts(target)
        return path

    def read(self, name: str) -> bytes | None:
        path = self.path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError("can't be read", subject=str(path), advice=_cure(error)) from None

    def text(self, name: str) -> str | None:
        content = self.read(name)
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError:
            raise UsageError("not a text file", subject=str(self.path(name))) from None

    def files(self, pattern: str) -> list[str]:
        """Names of the files that match, sorted; wildcards stand in the last part only."""
        folder, _, last = pattern.rpartition("/")
        found = self.path(folder)
        names = found.glob(last) if last and found.is_dir() else ()
        return sorted(f"{folder}/{path.name}" for path in names if not path.is_dir())

    def folders(self, name: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        found = self.path(name)
        return sorted(f"{name}/{path.name}" for path in found.iterdir() if path.is_dir()) if found.is_dir() else []

    def write(self, name: str, content: bytes | None) -> None:
        """With the mode and owner that the file had. UsageError where it can't be."""
        write_whole(self.path(name), content)

    def remove_empty(self, folder: str) -> None:
        """The folder and those above that only the setup had filled; never the runtime's own, /etc/docker."""
        where = PurePosixPath(folder)
        while len(where.parts) > 3:
            try:
                self.path(str(where)).rmdir()
            except OSError:
                return
            where = where.parent


def write_whole(path: Path, content: bytes | None, new_mode: int = 0o644) -> None:
    """`new_mode`: of a file that was not there. UsageError where it can't be written."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if content is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with _kept(path, new_mode) as (mode, owner):
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(fd, mode)
                if owner is not None:
                    os.fchown(fd, *owner)
                os.fsync(fd)
        try:
            os.replace(draft, path)
        except OSError as error:
            # /etc/hosts of a container is a mount of its own, which can only be written in place.
            if error.errno != errno.EBUSY:
                raise
            path.write_bytes(content)
    except OSError as error:
        raise UsageError("can't be written", subject=str(path), advice=_cure(error)) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


@contextlib.contextmanager
def _kept(path: Path, new_mode: int) -> Iterator[tuple[int, tuple[int, int] | None]]:
    try:
        found = path.stat()
        yield found.st_mode & 0o7777, (found.st_uid, found.st_gid)
    except FileNotFoundError:
        yield new_mode, None


def _parts(name: str) -> list[str]:
    """The last first, as a stack."""
    return [part for part in reversed(PurePosixPath(name).parts) if part != "/"]


def _cure(error: OSError) -> str:
    said = error.strerror or str(error)
    return f"{said}: use sudo" if isinstance(error, PermissionError) and os.geteuid() != 0 else said
