"""The examples of docs/extend are run: installed as a stranger's package, found by name, put to the test."""

from __future__ import annotations

import json
import re
import sys
import threading
import tomllib
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from docs.pages import ROOT, blocks, page
from dragonfly.boot.supernode import SupernodeProcess
from dragonfly.config.load import load
from dragonfly.config.schema import SUPERNODE
from dragonfly.errors import UsageError
from dragonfly.scheduler import policies
from dragonfly.source import registry
from dragonfly.source.policy import SourcePolicy
from dragonfly.testing.source_conformance import SourceConformance


@cache
def files(name: str) -> dict[str, str]:
    """The example's modules by the file names in their first lines."""
    return {
        block.text.partition("\n")[0].removeprefix("# "): block.text for block in blocks("python") if block.page == name
    }


def install(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the page's example an installed package, with the entry points that the page declares."""
    for file, text in files(name).items():
        (folder / file).write_text(text)
        monkeypatch.delitem(sys.modules, file.removesuffix(".py"), raising=False)
    info = folder / "example-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1\n")
    (declared,) = (block.text for block in blocks("toml") if block.page == name)
    groups = tomllib.loads(declared)["project"]["entry-points"]
    lines = [f"[{group}]\n{point} = {where}\n" for group, points in groups.items() for point, where in points.items()]
    (info / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(str(folder))


# ---------------------------------------------------------------- a source

SOURCE_PAGE = "docs/extend/source.md"


class Cluster(BaseHTTPRequestHandler):
    """As much of WebHDFS as its REST API's description asks of GETFILESTATUS and OPEN."""

    protocol_version = "HTTP/1.1"
    stored: dict[str, tuple[int, bytes]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        number, data = self.stored.get(unquote(parts.path).removeprefix("/webhdfs/v1"), (0, b""))
        if not number:
            return self.answer(404, b'{"RemoteException": {"exception": "FileNotFoundException"}}')
        if asked["op"] == "GETFILESTATUS":
            status = {"length": len(data), "fileId": 1, "modificationTime": number, "type": "FILE"}
            return self.answer(200, json.dumps({"FileStatus": status}).encode())
        start = int(asked.get("offset", 0))
        return self.answer(200, data[start : start + int(asked.get("length", len(data)))])

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class TestWebHdfs(SourceConformance):
    @pytest.fixture(autouse=True)
    def _cluster(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        install(SOURCE_PAGE, tmp_path, monkeypatch)
        self.stored: dict[str, tuple[int, bytes]] = {}
        self.versions = 0
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Of", (Cluster,), {"stored": self.stored}))
        self.base = f"webhdfs://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()
        server.server_close()

    def make(self) -> Any:
        return import_module("my_sources").WebHdfsSource(SourcePolicy())

    def publish(self, name: str, data: bytes) -> str:
        self.versions += 1
        self.stored[f"/{name}"] = (self.versions, data)
        return f"{self.base}/{quote(name)}"

    def withdraw(self, name: str) -> None:
        del self.stored[f"/{name}"]

    def test_it_is_found_by_its_scheme(self) -> None:
        found = registry.Sources().for_url("webhdfs://namenode:9870/x")
        assert type(found).__name__ == "WebHdfsSource"
        found.close()


def test_the_pages_test_is_a_conformance_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(SOURCE_PAGE, tmp_path, monkeypatch)
    suite = import_module("test_my_sources").TestWebHdfs
    assert issubclass(suite, SourceConformance)
    assert {"make", "publish", "withdraw"} <= set(vars(suite))


# ---------------------------------------------------------------- a policy

POLICY_PAGE = "docs/extend/policy.md"


def test_the_pages_test_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(POLICY_PAGE, tmp_path, monkeypatch)
    import_module("test_my_policy").test_most_neighbours_are_near_and_some_are_not()


def test_a_supernode_takes_it_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(POLICY_PAGE, tmp_path, monkeypatch)
    flags = {"neighbour_policy": "subnet-first", "data_dir": str(tmp_path / "data")}
    with pytest.raises(UsageError, match="known: near-random, random, subnet-first"):
        SupernodeProcess(load(SUPERNODE, flags=flags | {"neighbour_policy": "subnet-last"}, environ={}))
    flags["data_dir"] = str(tmp_path / "other")
    process = SupernodeProcess(load(SUPERNODE, flags=flags, environ={}))
    assert type(process.supernode.scheduler._links._policy).__name__ == "SubnetFirst"


# ---------------------------------------------------------------- entry points


def test_every_group_has_a_page() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(declared) == {registry.GROUP, policies.GROUP}
    for group, points in declared.items():
        about = [name for name in (SOURCE_PAGE, POLICY_PAGE) if f'"{group}"' in page(name)]
        assert len(about) == 1, f"no page tells how to add to {group}"
        for point in points:
            assert re.search(rf"`{point}`", page(about[0])), f"{about[0]} does not name {point}"
            assert entry_points(group=group, name=point)
