"""State in a SQLite file beside the content: one supernode, nothing to operate."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

from dragonfly.errors import CapacityError

__all__ = ["SqliteState"]

_SCHEMA = "CREATE TABLE IF NOT EXISTS state (kind TEXT, key TEXT, value BLOB, PRIMARY KEY (kind, key)) WITHOUT ROWID"


class SqliteState:
    """CapacityError where the file can't be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            _make_private(path)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise self._refused(error) from error

    def get(self, kind: str, key: str) -> bytes | None:
        row = self._run("SELECT value FROM state WHERE kind = ? AND key = ?", kind, key)
        return bytes(row[0][0]) if row else None

    def put(self, kind: str, key: str, value: bytes) -> None:
        self._run("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", kind, key, value)

    def add(self, kind: str, key: str, value: bytes) -> bytes:
        self._run("INSERT OR IGNORE INTO state VALUES (?, ?, ?)", kind, key, value)
        found = self.get(kind, key)
        return value if found is None else found

    def remove(self, kind: str, key: str) -> None:
        self._run("DELETE FROM state WHERE kind = ? AND key = ?", kind, key)

    def all(self, kind: str) -> dict[str, bytes]:
        return {str(key): bytes(value) for key, value in self._run("SELECT key, value FROM state WHERE kind = ?", kind)}

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _run(self, sql: str, *values: object) -> list[tuple[bytes, ...]]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._refused(error) from error

    def _refused(self, error: Exception) -> CapacityError:
        return CapacityError("the state can't be kept", subject=str(self._path), advice=str(error))


def _make_private(path: Path) -> None:
    """It holds the secret of the tickets. SQLite gives the files beside it the bits that this one has."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if file.exists():
            file.chmod(0o600)
