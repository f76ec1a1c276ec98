import os
import socket
import stat
from pathlib import Path

import pytest

from dragonfly.errors import UsageError
from dragonfly.net.unixsock import caller_of, open_unix


def test_it_has_its_mode_and_knows_its_callers(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with open_unix(path, 0o640) as listener, socket.socket(socket.AF_UNIX) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        client.connect(str(path))
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert caller_of(accepted) == (os.getpid(), os.geteuid(), os.getegid())


def test_what_a_dead_process_left_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    open_unix(path, 0o600).close()
    assert path.exists()
    with open_unix(path, 0o600):
        with pytest.raises(UsageError, match="already listens"):
            open_unix(path, 0o600)
        assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_the_kernel_has_no_room_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="too long"):
        open_unix(tmp_path / ("x" * 120), 0o600)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        open_unix(tmp_path / "no" / "sock", 0o600)
