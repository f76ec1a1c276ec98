"""Blobs and stores for these tests: small pieces, known bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from dragonfly.core.pieces import PieceLayout
from dragonfly.core.task import TaskKey
from dragonfly.store import journal
from dragonfly.store.blob import Blob, BlobMeta, _Begin
from dragonfly.store.settings import StoreSettings
from dragonfly.store.store import Store

PIECE = 1024


def key(name: str) -> TaskKey:
    return TaskKey(f"url-{name}")


def content(index: int, size: int = PIECE, seed: int = 0) -> bytes:
    return bytes([(index * 7 + seed) % 251 + 1]) * size


def layout(pieces: int, last: int = PIECE) -> PieceLayout:
    return PieceLayout((pieces - 1) * PIECE + last if pieces else 0, PIECE)


def put(blob: Blob, index: int, seed: int = 0) -> None:
    """Write a piece and mark it, as the engine does."""
    data = content(index, blob.layout.size(index), seed)
    blob.write(blob.layout.start(index), data)
    blob.mark(index, hashlib.sha256(data).digest())


def filled(store: Store, name: str, pieces: int = 4, *, sealed: bool = True) -> Blob:
    blob = store.create(key(name), layout(pieces), BlobMeta())
    for index in range(pieces):
        put(blob, index)
    if sealed:
        store.seal(blob)
    return blob


def roomy(**changes: object) -> StoreSettings:
    """Settings that do not look at how full this machine's disk is."""
    return msgspec.structs.replace(StoreSettings(keep_free=0), **changes)


def after_another_boot(folder: Path) -> None:
    """Make a blob's journal one that was begun in another boot of the machine."""
    log = folder / "journal"
    data = log.read_bytes()
    _, payload, end = next(journal.records(data))
    begin = msgspec.structs.replace(msgspec.msgpack.decode(payload, type=_Begin), boot="another boot")
    log.write_bytes(journal.record(journal.Kind.BEGIN, msgspec.msgpack.encode(begin)) + data[end:])
