"""Who this node is: an id that survives restarts, an address that others can dial."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

from dragonfly.errors import UsageError

__all__ = ["address_towards", "default_data_dir", "host_id", "prepare_data_dir", "resident_bytes"]


def default_data_dir(program: str) -> Path:
    """/var/lib/dragonfly for root, else below the user's own data."""
    if os.geteuid() == 0:
        base = Path("/var/lib/dragonfly")
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "dragonfly"
    return base / "supernode" if program == "supernode" else base


def prepare_data_dir(path: Path) -> Path:
    """Make it; UsageError where that can't be done, or where what lies in it is another user's.

    Whoever may write to a folder that others share could have put a store or a CA of their own there.
    """
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        strange = [found for found in path.iterdir() if found.lstat().st_uid not in (0, os.geteuid())]
    except OSError as error:
        raise UsageError(
            "the data directory can't be made", subject=str(path), advice=f"{error.strerror}; choose --data-dir"
        ) from None
    if strange:
        raise UsageError(
            "the data directory holds another user's files",
            subject=str(strange[0]),
            advice="choose another --data-dir, or chown it",
        )
    return path.absolute()


def host_id(data_dir: Path) -> str:
    """This node's id: made once, kept in the data directory, so that a restart is not a new node."""
    file = data_dir / "host-id"
    try:
        found = file.read_text(encoding="ascii").strip()
        if found:
            return found
    except FileNotFoundError:
        pass
    made = f"{socket.gethostname()[:40]}-{secrets.token_hex(6)}"
    file.write_text(made + "\n", encoding="ascii")
    return made


def address_towards(host: str, port: int) -> str:
    """The IP that this machine uses towards `host` (nothing is sent); loopback where there is no route."""
    try:
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"


def resident_bytes() -> int:
    """Memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
