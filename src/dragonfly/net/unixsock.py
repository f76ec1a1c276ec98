"""The unix socket of a daemon: made safely, and who is at its other end."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from pathlib import Path
from typing import NamedTuple

from dragonfly.errors import UsageError

__all__ = ["Caller", "caller_of", "open_unix"]

_ucred = struct.Struct("3i")
#: Bytes that sockaddr_un has room for, its final zero left out.
_LONGEST = 107


class Caller(NamedTuple):
    """The process at the other end, by the kernel's word."""

    pid: int
    uid: int
    gid: int


def open_unix(path: Path, mode: int, *, backlog: int = 128) -> socket.socket:
    """Listen on `path` with permission bits `mode`; what a dead process left there is removed.

    UsageError where a living process listens there, or the path is too long or not writable.
    """
    if len(os.fsencode(path)) > _LONGEST:
        raise UsageError(
            "a path too long for a unix socket",
            subject=str(path),
            advice=f"choose a data directory that keeps it within {_LONGEST} bytes",
        )
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if _answers(path):
            raise UsageError(
                "another process already listens",
                subject=str(path),
                advice="stop it, or use another data directory",
            )
        path.unlink(missing_ok=True)
        # Bound under a name that nobody dials: between bind and chmod it has the umask's bits.
        draft = path.with_name(f"{path.name}.{os.getpid() % 1000}")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        if len(os.fsencode(draft)) > _LONGEST:
            draft = path
        sock.bind(os.fspath(draft))
        draft.chmod(mode)
        sock.listen(backlog)
        if draft != path:
            draft.rename(path)
    except OSError as error:
        sock.close()
        raise UsageError("cannot listen", subject=str(path), advice=error.strerror or str(error)) from None
    except BaseException:
        sock.close()
        raise
    return sock


def caller_of(sock: socket.socket) -> Caller:
    """SO_PEERCRED of a connected unix socket."""
    return Caller(*_ucred.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _ucred.size)))


def _answers(path: Path) -> bool:
    """Whether something accepts connections on `path`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except TimeoutError:
            return True
        return True
