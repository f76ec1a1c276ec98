from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from dragonfly.boot.host import host_id, prepare_data_dir
from dragonfly.errors import UsageError


def test_a_data_directory_is_made_for_its_owner_to_write(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        made = prepare_data_dir(tmp_path / "a" / "b")
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.stat().st_mode) == 0o755


def test_a_nodes_id_survives_a_restart(tmp_path: Path) -> None:
    assert host_id(tmp_path) == host_id(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["ca", "store"])
def test_a_store_or_a_ca_that_another_user_put_there_is_not_used(tmp_path: Path, name: str) -> None:
    prepare_data_dir(tmp_path)
    (tmp_path / name).mkdir()
    prepare_data_dir(tmp_path)
    os.chown(tmp_path / name, 12345, 12345)
    with pytest.raises(UsageError, match="another user's files"):
        prepare_data_dir(tmp_path)


def test_a_place_where_none_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="can't be made"):
        prepare_data_dir(tmp_path / "file")
