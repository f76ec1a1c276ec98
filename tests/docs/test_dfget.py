"""docs/dfget.md: options, statuses and keys as they are; the library's example is run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from pathlib import Path

import click
import pytest

from docs.pages import blocks, code, page, rows
from dragonfly.cli import get
from dragonfly.cli.exits import Exit
from dragonfly.config.load import fields_of
from dragonfly.config.schema import DFGET
from dragonfly.core.messages import BytesBy
from dragonfly.peer.report import Meter, Result
from dragonfly.testing.origin import Origin
from unit.client.conftest import data_dir

__all__ = ["data_dir"]

PAGE = "docs/dfget.md"


def test_every_option_is_described_there_or_is_a_setting() -> None:
    settings = {f"--{name.replace('_', '-')}" for kind in DFGET.flat for name in fields_of(kind)} | {"--config"}
    for parameter in get.command.params:
        if isinstance(parameter, click.Option) and parameter.name != "version":
            assert any(flag in page(PAGE) or flag in settings for flag in parameter.opts), parameter.opts


def test_every_exit_status() -> None:
    assert [int(row[0]) for row in rows(PAGE, "How it ends")] == [int(status) for status in Exit]


def test_every_key_of_the_json() -> None:
    told = {key for row in rows(PAGE, "JSON") for key in code(row[0])}
    made = get._told(Result(key="k", url="u", length=1, seconds=1.0, received=BytesBy()), Path("p"))
    failed = [key for row in rows(PAGE, "JSON") for key in code(row[0]) if "only where it failed" in row[1]]
    assert told == set(made) | set(failed)
    assert set(failed) == {"exit", "error", "kind", "advice"}


def test_what_can_have_bound_a_pull() -> None:
    source = ast.parse(textwrap.dedent(inspect.getsource(Meter.bound)))
    returned = {node.value.value for node in ast.walk(source) if isinstance(node, ast.Return)}  # type: ignore[attr-defined]
    (row,) = (row for row in rows(PAGE, "JSON") if code(row[0]) == ["bound"])
    assert set(code(row[1])) == returned


def test_the_example_for_programs_runs(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = (block.text for block in blocks("python") if block.page == PAGE)
    monkeypatch.chdir(tmp_path)
    with Origin() as origin:
        for name in ("/model.bin", "/log.gz"):
            origin.serve(name, bytes(5000), etag='"1"')
        text = example.replace("https://files.example.com", origin.url("").rstrip("/"))
        text = text.replace('supernodes=["10.0.0.5"]', f"Path({str(data_dir)!r})")
        exec(compile(text, PAGE, "exec"), {})
    assert (tmp_path / "model.bin").read_bytes() == bytes(5000)
    assert capsys.readouterr().out.splitlines() == ["0 bytes came from peers", "1024"]
