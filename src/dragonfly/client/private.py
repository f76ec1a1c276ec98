"""A node without a daemon: one of this user's own, in the background, that goes on giving to others for a while."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from dragonfly.client.local import LocalDaemon
from dragonfly.errors import DragonflyError, UsageError

__all__ = ["private_daemon"]

_START_S = 20.0
_LOOK_S = 0.02


def private_daemon(base: Path, supernodes: tuple[str, ...], seed_time_s: float) -> LocalDaemon:
    """The daemon below `base` that belongs to these supernodes; started if it does not run.

    It ends by itself when nothing was asked of it for `seed_time_s`. UsageError where the
    folder can't be made, DragonflyError with the daemon's own words where it does not start.
    """
    named = hashlib.sha256(",".join(supernodes).encode()).hexdigest()[:8] if supernodes else "alone"
    folder = base / "dfget" / named
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "the data directory can't be made", subject=str(folder), advice=f"{error.strerror}; choose --data-dir"
        ) from None
    daemon = LocalDaemon(folder)
    with _alone(folder / "start.lock"):
        if daemon.status() is None:
            _start(daemon, supernodes, seed_time_s)
    return daemon


def _start(daemon: LocalDaemon, supernodes: tuple[str, ...], seed_time_s: float) -> None:
    command = [
        sys.executable, "-m", "dragonfly.cli.main", "daemon",
        "--data-dir", str(daemon.data_dir),
        "--listen", "127.0.0.1:0",
        "--peer-listen", "0.0.0.0:0",
        "--idle-exit", f"{max(1.0, seed_time_s)}s",
    ]  # fmt: skip
    for supernode in supernodes:
        command += ["--supernode", supernode]
    log = daemon.data_dir / "daemon.log"
    # Its settings are this command's, not what the environment says of the node's daemon.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DRAGONFLY_")}
    with log.open("wb") as words:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True, env=environ, cwd="/"
        )
    end = time.monotonic() + _START_S
    while daemon.status() is None:
        if process.poll() is not None or time.monotonic() > end:
            raise DragonflyError(
                "a daemon for this download could not be started",
                subject=str(daemon.data_dir),
                advice=_last_line(log) or f"see {log}",
            )
        time.sleep(_LOOK_S)
    # It outlives this call, and is waited for where it does not outlive the caller.
    threading.Thread(target=process.wait, name="dfget daemon", daemon=True).start()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two downloads that begin at once start one daemon."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
