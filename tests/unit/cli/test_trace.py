"""A pull's recording, as the simulator reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dragonfly.errors import UsageError
from dragonfly.sim.replay import read
from dragonfly.testing.origin import Origin
from unit.cli.test_cache import key, said

__all__ = ["key"]


def test_who_sent_what_and_when(data_dir: Path, key: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "recording"
    said("trace", key[:20], "--data-dir", str(data_dir), "-o", str(file))
    recording = read(file.read_text().splitlines())
    layout = recording.layout
    assert layout.length == len(content)
    assert sorted(transfer.piece for transfer in recording.transfers) == list(range(layout.count))
    assert said("trace", key, "--data-dir", str(data_dir)).stdout == file.read_text()


def test_all_that_happened(data_dir: Path, key: str) -> None:
    lines = said("trace", key, "--events", "--data-dir", str(data_dir)).stdout.splitlines()
    names = [json.loads(line)["name"] for line in lines]
    assert {"pull.started", "pull.described", "source.piece", "pull.finished"} <= set(names)


def test_a_task_that_is_not_known(data_dir: Path, key: str, origin: Origin) -> None:
    with pytest.raises(UsageError, match="no such task"):
        said("trace", "sha256-none", "--data-dir", str(data_dir))
