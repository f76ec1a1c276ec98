"""What a setup found on the host: the backup, a file for each runtime, readable for its owner only.

Configuration may hold secrets, and need not be UTF-8 for us to put it back: contents are base64.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from dragonfly.daemon.runtimes.host import write_whole
from dragonfly.errors import UsageError

__all__ = ["Record"]


class Record(msgspec.Struct, kw_only=True):
    """All setups of one runtime since the last undo."""

    runtime: str
    files: dict[str, str | None] = {}
    """Path → what was there before the first setup."""
    after: dict[str, str | None] = {}
    """Path → SHA-256 of what we left there."""
    edited: list[str] = []
    """Paths that somebody else changed between two of our setups."""
    names: list[str] = []
    """What /etc/hosts says for its P2P domains, whoever's setup had written the line."""
    daemons: list[str] = []
    """Addresses at which the runtime was told to look for the daemon, the newest last."""

    @staticmethod
    def load(records: Path, runtime: str) -> Record:
        """An empty one where there is none yet."""
        file = records / f"{runtime}.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Record)
        except FileNotFoundError:
            return Record(runtime=runtime)
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError("the record of the setup can't be read", subject=str(file), advice=str(error)) from None

    @staticmethod
    def others(records: Path, runtime: str) -> Iterator[Record]:
        """Those of the other runtimes that were set up from the same data directory."""
        for file in sorted(records.glob("*.json")):
            if file.stem != runtime:
                yield Record.load(records, file.stem)

    def save(self, records: Path) -> None:
        content = msgspec.json.format(msgspec.json.encode(self))
        write_whole(records / f"{self.runtime}.json", content, 0o600)

    def forget(self, records: Path) -> None:
        write_whole(records / f"{self.runtime}.json", None)

    @property
    def empty(self) -> bool:
        return not self.files and not self.names

    def note(self, path: str, before: bytes | None, after: bytes | None) -> None:
        """A change that is about to be made."""
        if path in self.files and self.foreign(path, before) and path not in self.edited:
            self.edited.append(path)
        self.files.setdefault(path, None if before is None else base64.b64encode(before).decode())
        self.after[path] = _hash(after)

    def rely(self, names: Iterable[str], daemon: str) -> None:
        self.names = list(dict.fromkeys((*self.names, *names)))
        self.daemons = [*(each for each in self.daemons if each != daemon), daemon] if daemon else self.daemons

    def before(self, path: str) -> bytes | None:
        text = self.files[path]
        return None if text is None else base64.b64decode(text)

    def untouched(self, path: str, content: bytes | None) -> bool:
        """It is what we left there, and nobody else had changed it between our setups."""
        return path not in self.edited and _hash(content) == self.after[path]

    def foreign(self, path: str, content: bytes | None) -> bool:
        """It is neither what we left there nor what was there before us."""
        return _hash(content) not in (self.after[path], _hash(self.before(path)))


def _hash(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
