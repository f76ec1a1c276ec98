"""The store against a model: whatever is done, and whenever it ends, what was marked is had and is right."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dragonfly.core import bitmap
from dragonfly.store.blob import Blob, BlobMeta
from dragonfly.store.store import Store
from unit.store.blobs import PIECE, content, key, layout, put, roomy

NAMES = st.sampled_from("abc")
PIECES = 5
LIMIT = 12 * PIECE


class StoreMachine(RuleBasedStateMachine):
    """The model: pieces marked, and digests learnt, by task; which are sealed and which in use."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.now = 1e6
        self.store = self.open()
        self.had: dict[str, set[int]] = {}
        self.sealed: set[str] = set()
        self.pinned: dict[str, Blob] = {}

    def open(self) -> Store:
        return Store(self.root, roomy(disk_limit=LIMIT), wall=lambda: self.now)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.root)

    def blob(self, name: str) -> Blob:
        blob = self.store.get(key(name))
        assert blob is not None
        return blob

    def names(self) -> set[str]:
        return {blob.key.removeprefix("url-") for blob in self.store.blobs()}

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        used = sum(len(had) for other, had in self.had.items() if other in self.pinned)
        promised = sum(PIECES - len(had) for other, had in self.had.items() if other in self.pinned)
        if name not in self.had and (used + promised + PIECES) * PIECE > LIMIT:
            return
        blob = self.store.create(key(name), layout(PIECES), BlobMeta())
        for other in set(self.had) - self.names():
            assert other not in self.pinned, "what is in use was evicted"
            del self.had[other]
            self.sealed.discard(other)
        self.had.setdefault(name, set())
        assert blob.have == bitmap.from_indexes(self.had[name])

    @precondition(lambda self: self.had)
    @rule(data=st.data(), index=st.integers(0, PIECES - 1))
    def write(self, data: st.DataObject, index: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.had)))
        put(self.blob(name), index)
        self.had[name].add(index)

    @precondition(lambda self: any(len(had) == PIECES for had in self.had.values()))
    @rule(data=st.data())
    def seal(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(n for n, had in self.had.items() if len(had) == PIECES)))
        blob = self.blob(name)
        blob.seal()
        blob.sync()
        self.sealed.add(name)

    @precondition(lambda self: self.had)
    @rule(data=st.data(), on=st.booleans())
    def pin(self, data: st.DataObject, on: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.had)))
        if on and name not in self.pinned:
            self.pinned[name] = self.blob(name)
            self.pinned[name].pin()
        elif not on and name in self.pinned:
            self.pinned.pop(name).unpin()

    @precondition(lambda self: self.had)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.had)))
        assert self.store.remove(key(name))
        del self.had[name]
        self.sealed.discard(name)
        if (blob := self.pinned.pop(name, None)) is not None:
            blob.unpin()

    @rule(seconds=st.floats(0, 100))
    def collect(self, seconds: float) -> None:
        self.now += seconds
        for gone in self.store.collect():
            name = gone.removeprefix("url-")
            assert name not in self.pinned
            del self.had[name]
            self.sealed.discard(name)

    @rule(torn=st.binary(max_size=60), dirt=st.booleans())
    def crash(self, torn: bytes, dirt: bool) -> None:
        """The process ends; behind a journal's last record may stand half of another."""
        for blob in self.pinned.values():
            blob.unpin()
        self.pinned.clear()
        self.store.close()
        for folder in (self.root / "tasks").iterdir():
            with (folder / "journal").open("ab") as log:
                log.write(torn)
        if dirt:
            (self.root / "gone-url-x-1").mkdir()
        self.store = self.open()
        assert self.store.recovered == []

    @invariant()
    def what_was_marked_is_had_and_right(self) -> None:
        assert self.names() == set(self.had)
        for blob in self.store.blobs():
            name = blob.key.removeprefix("url-")
            assert blob.have == bitmap.from_indexes(self.had[name])
            assert blob.sealed == (name in self.sealed)
            assert blob.size_on_disk == PIECE * len(self.had[name])
            for index in self.had[name]:
                assert os.pread(blob.fileno(), PIECE, index * PIECE) == content(index)

    @invariant()
    def nothing_else_lies_about(self) -> None:
        assert {path.name for path in (self.root / "tasks").iterdir()} == {key(name) for name in self.had}
        assert {path.name for path in self.root.iterdir()} == {"lock", "tasks"}


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
