"""Changes to files of a host: shown before, made as a whole, kept so that they can be taken back.

A plan is pure data: the runtimes' modules make it, `apply` writes it. Before the first file is
changed, a record of all of them (what was there, what will be) is on disk, so that `undo` also
works after a crash in the middle.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dragonfly.errors import UsageError

__all__ = ["Change", "Host", "Plan", "apply", "diff", "undo"]


class Host:
    """The file system that is set up: `root` is where the host's own is mounted (`/` on the host itself)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        """Where the host's absolute path `name` is for us; its last symbolic links are followed inside of root."""
        path = self.root / name.lstrip("/")
        for _ in range(16):
            if not path.is_symlink():
                return path
            target = Path(os.readlink(path))
            path = self.root / str(target).lstrip("/") if target.is_absolute() else path.parent / target
        raise UsageError("symbolic links without an end", subject=str(path))

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""
        path = self.path(name)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError("can't be read", subject=str(path), advice=error.strerror or "") from None

    def text(self, name: str) -> str | None:
        content = self.read(name)
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError:
            raise UsageError("not a text file", subject=str(self.path(name))) from None


class Change(msgspec.Struct, frozen=True):
    """The file `path` (on the host) from `before` to `after`; None: it is not there."""

    path: str
    before: bytes | None
    after: bytes | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`restart`: what the runtime needs to see it, empty for nothing. `notes`: what else is to be known."""

    runtime: str
    changes: tuple[Change, ...]
    restart: str = ""
    notes: tuple[str, ...] = ()

    @property
    def needed(self) -> tuple[Change, ...]:
        """Those that change anything."""
        return tuple(change for change in self.changes if change.before != change.after)


class _Record(msgspec.Struct, kw_only=True):
    """What undo needs. Contents as base64: configuration need not be UTF-8 for us to put it back."""

    runtime: str
    files: dict[str, str | None]
    """Path → what was there before the first setup."""
    after: dict[str, str | None]
    """Path → SHA-256 of what we left there."""
    edited: list[str] = []
    """Paths that somebody else changed between two of our setups."""


def diff(plan: Plan) -> str:
    """A unified diff of all that would change."""
    lines: list[str] = []
    for change in plan.needed:
        before, after = (
            [] if content is None else content.decode(errors="replace").splitlines(keepends=True)
            for content in (change.before, change.after)
        )
        names = (change.path if change.before is not None else "/dev/null", change.path)
        lines += (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(before, after, *names)
        )
    return "".join(lines)


def apply(host: Host, plan: Plan, records: Path) -> None:
    """Write what is needed. `records`: folder that remembers what was there; it is the backup."""
    needed = plan.needed
    if not needed:
        return
    record = _load(records, plan.runtime) or _Record(runtime=plan.runtime, files={}, after={})
    for change in needed:
        if change.path in record.files and _foreign(record, change.path, change.before):
            record.edited.append(change.path)
        record.files.setdefault(change.path, _encoded(change.before))
        record.after[change.path] = _hash(change.after)
    _save(records, record)
    for change in needed:
        _write(host.path(change.path), change.after)


def undo(host: Host, runtime: str, records: Path, *, force: bool = False) -> list[str]:
    """Put back what was there before the first `apply`; the paths. UsageError where a file was changed by
    somebody else since (nothing is touched then), unless `force`."""
    record = _load(records, runtime)
    if record is None:
        return []
    changed = [path for path in record.files if path in record.edited or _foreign(record, path, host.read(path))]
    if changed and not force:
        raise UsageError(
            "changed by somebody else since the setup",
            subject=", ".join(changed),
            advice="look at them; --force puts back what was there before",
        )
    for path, before in record.files.items():
        content = _decoded(before)
        _write(host.path(path), content)
        if content is None:
            _remove_empty(host, Path(path).parent)
    _file(records, runtime).unlink()
    return list(record.files)


def _foreign(record: _Record, path: str, content: bytes | None) -> bool:
    """It is neither what we left there nor what was there before us."""
    return _hash(content) not in (record.after[path], _hash(_decoded(record.files[path])))


# ---------------------------------------------------------------- files


def _write(path: Path, content: bytes | None, new_mode: int = 0o644) -> None:
    """Whole or not at all, with the mode and owner that it had (`new_mode` where it is new)."""
    if content is None:
        path.unlink(missing_ok=True)
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
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
        except OSError:
            # /etc/hosts of a container is a mount of its own, which can only be written in place.
            path.write_bytes(content)
    except OSError as error:
        raise UsageError("can't be written", subject=str(path), advice=error.strerror or "use sudo") from None
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _kept(path: Path, new_mode: int) -> Iterator[tuple[int, tuple[int, int] | None]]:
    try:
        found = path.stat()
        yield found.st_mode & 0o7777, (found.st_uid, found.st_gid)
    except FileNotFoundError:
        yield new_mode, None


def _remove_empty(host: Host, folder: Path) -> None:
    """Folders that only the setup had filled."""
    while len(folder.parts) > 3:  # never /etc/docker itself
        try:
            host.path(str(folder)).rmdir()
        except OSError:
            return
        folder = folder.parent


# ---------------------------------------------------------------- records


def _file(records: Path, runtime: str) -> Path:
    return records / f"{runtime}.json"


def _load(records: Path, runtime: str) -> _Record | None:
    file = _file(records, runtime)
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Record)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError("the record of the setup can't be read", subject=str(file), advice=str(error)) from None


def _save(records: Path, record: _Record) -> None:
    try:
        records.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError("can't be made", subject=str(records), advice=error.strerror or "use sudo") from None
    # Configuration may hold secrets: the copy is for its owner only.
    _write(_file(records, record.runtime), msgspec.json.format(msgspec.json.encode(record)), 0o600)


def _encoded(content: bytes | None) -> str | None:
    return None if content is None else base64.b64encode(content).decode()


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _hash(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
