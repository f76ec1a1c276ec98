"""What a node holds, seen and deleted from its command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dragonfly.cli.main import umbrella
from dragonfly.client.client import Client, Wanted
from dragonfly.errors import DragonflyError, UsageError
from dragonfly.testing.origin import Origin


def said(*arguments: str) -> Result:
    result = CliRunner().invoke(umbrella, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def key(data_dir: Path, origin: Origin, tmp_path: Path) -> str:
    """Of a task that the daemon has just pulled."""
    return Client(data_dir).get(Wanted(url=origin.url("/f")), tmp_path / "f").key


def test_ls_lists_a_line_for_each_task(data_dir: Path, key: str, origin: Origin, content: bytes) -> None:
    [line] = [line for line in said("cache", "ls", "--data-dir", str(data_dir)).stdout.splitlines() if key[:23] in line]
    assert "1.5 MB of 1.5 MB" in line
    assert line.endswith(origin.url("/f"))
    lines = [
        json.loads(text) for text in said("cache", "ls", "--json", "--data-dir", str(data_dir)).stdout.splitlines()
    ]
    assert [line["length"] for line in lines if line["key"] == key] == [len(content)]


def test_rm_deletes_by_the_beginning_of_an_id(data_dir: Path, key: str) -> None:
    assert said("cache", "rm", key[:20], "--data-dir", str(data_dir)).stdout == f"deleted {key}\n"
    assert not [path for path in data_dir.rglob(key) if path.is_dir()]
    with pytest.raises(DragonflyError):
        said("cache", "rm", "sha256-of-nothing", "--data-dir", str(data_dir))


def test_a_beginning_that_fits_several_deletes_none(data_dir: Path, key: str, origin: Origin, tmp_path: Path) -> None:
    other = Client(data_dir).get(Wanted(url=origin.url("/f?x")), tmp_path / "g").key
    assert other.startswith("url-")
    with pytest.raises(UsageError, match="several"):
        said("cache", "rm", "url-", "--data-dir", str(data_dir))
    assert [path for path in data_dir.rglob(key) if path.is_dir()]


def test_stat_tells_of_the_daemon(data_dir: Path, key: str) -> None:
    lines = said("cache", "stat", "--data-dir", str(data_dir)).stdout.splitlines()
    assert lines[0].startswith("dfdaemon ")
    assert "other nodes at port" in lines[1]
    assert "tasks stored" in lines[2]


@pytest.mark.parametrize("command", [["cache", "ls"], ["cache", "stat"], ["cache", "rm", "x"], ["top"], ["trace", "x"]])
def test_where_no_daemon_runs_that_is_said(tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(DragonflyError, match=r"no daemon|--data-dir"):
        said(*command, "--data-dir", str(tmp_path))
