"""Our own sources keep to the contract that a stranger's must keep to."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from dragonfly.source.base import Source
from dragonfly.source.file import FileSource
from dragonfly.source.http import HttpSource
from dragonfly.testing.origin import Origin
from dragonfly.testing.source_conformance import SourceConformance


class TestHttp(SourceConformance):
    how: dict[str, object] = {}

    @pytest.fixture(autouse=True)
    def _place(self, origin: Origin) -> None:
        self.origin = origin
        self.version = 0

    def make(self) -> Source:
        return HttpSource()

    def publish(self, name: str, data: bytes) -> str:
        self.version += 1
        return self.origin.serve(f"/{quote(name)}", data, **({"etag": f'"{self.version}"'} | self.how))

    def withdraw(self, name: str) -> None:
        self.origin.withdraw(f"/{quote(name)}")


class TestHttpWithoutRanges(TestHttp):
    how = {"ranges": False}
    ranges = False


class TestHttpWithoutHead(TestHttp):
    how = {"head": False}


class TestHttpWithDatesOnly(TestHttp):
    def publish(self, name: str, data: bytes) -> str:
        self.how = {"etag": "", "last_modified": f"Mon, 01 Jan 2024 00:00:{self.version:02} GMT"}
        return super().publish(name, data)


class TestHttpWithoutValidators(TestHttp):
    how = {"etag": ""}
    revalidates = False


class TestFile(SourceConformance):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make(self) -> Source:
        return FileSource()

    def publish(self, name: str, data: bytes) -> str:
        (self.folder / name).write_bytes(data)
        return f"file://{quote(str(self.folder / name))}"

    def withdraw(self, name: str) -> None:
        (self.folder / name).unlink()
