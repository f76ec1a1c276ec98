"""What a runtime that runs has read of its configuration, asked of itself or of its process."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["docker_mirrors", "started_before"]

_DOCKER = "/var/run/docker.sock"
_PATIENCE_S = 3.0
_ROUNDING_S = 1.0


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE_S)
        self.sock.connect(_DOCKER)


def docker_mirrors() -> list[str] | None:
    """Those that dockerd uses now; None where it does not run, or does not let us ask."""
    connection = _Connection("docker", timeout=_PATIENCE_S)
    try:
        connection.request("GET", "/info")
        told = json.loads(connection.getresponse().read())
        return [str(mirror) for mirror in told["RegistryConfig"].get("Mirrors") or ()]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return None
    finally:
        connection.close()


def started_before(program: str, file: Path) -> bool:
    """A process of this name that reads the file runs since before it was changed: it has not read that."""
    try:
        changed = file.stat().st_mtime
        return any(began + _ROUNDING_S < changed for began in _starts(program, file))
    except OSError:
        return False


def _starts(program: str, file: Path) -> Iterator[float]:
    """When its processes began, in seconds since the epoch; those that were given another file are left out,
    as the containerd is that dockerd starts for itself."""
    ticks = os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().rpartition(")")
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        elsewhere = any(word in ("-c", "--config") for word in words) and str(file) not in words
        if name.partition("(")[2] == program and not elsewhere:
            yield booted + int(rest.split()[19]) / ticks
