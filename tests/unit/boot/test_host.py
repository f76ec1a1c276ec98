"""Who a node is: kept over restarts, and reachable where it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dragonfly.boot.host import address_towards, default_data_dir, host_id, prepare_data_dir, resident_bytes
from dragonfly.errors import UsageError


def test_the_id_is_made_once(tmp_path: Path) -> None:
    made = host_id(tmp_path)
    assert made
    assert host_id(tmp_path) == made
    (tmp_path / "other").mkdir()
    assert host_id(tmp_path / "other") != made


def test_an_empty_id_file_is_filled(tmp_path: Path) -> None:
    (tmp_path / "host-id").write_text("\n")
    assert host_id(tmp_path) == host_id(tmp_path) != ""


def test_the_data_directory_is_made(tmp_path: Path) -> None:
    assert prepare_data_dir(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="--data-dir"):
        prepare_data_dir(tmp_path / "file" / "b")


def test_where_data_is_kept_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir("dfdaemon") == Path("/var/lib/dragonfly")
    assert default_data_dir("supernode") == Path("/var/lib/dragonfly/supernode")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", "/home/x/data")
    assert default_data_dir("dfdaemon") == Path("/home/x/data/dragonfly")
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", "/home/y")
    assert default_data_dir("supernode") == Path("/home/y/.local/share/dragonfly/supernode")


def test_the_address_towards_somebody() -> None:
    assert address_towards("127.0.0.1", 9) == "127.0.0.1"
    assert address_towards("nowhere.invalid", 9) == "127.0.0.1"


def test_memory_is_what_the_kernel_says() -> None:
    assert 1e6 < resident_bytes() < 1e11
