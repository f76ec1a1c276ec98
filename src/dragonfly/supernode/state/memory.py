"""State that ends with the process: for tests and throw-away supernodes."""

from __future__ import annotations

import threading

__all__ = ["MemoryState"]


class MemoryState:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str], bytes] = {}

    def get(self, kind: str, key: str) -> bytes | None:
        return self._values.get((kind, key))

    def put(self, kind: str, key: str, value: bytes) -> None:
        with self._lock:
            self._values[kind, key] = value

    def add(self, kind: str, key: str, value: bytes) -> bytes:
        with self._lock:
            return self._values.setdefault((kind, key), value)

    def remove(self, kind: str, key: str) -> None:
        with self._lock:
            self._values.pop((kind, key), None)

    def all(self, kind: str) -> dict[str, bytes]:
        with self._lock:
            return {key: value for (of, key), value in self._values.items() if of == kind}

    def close(self) -> None:
        pass
