"""Dragonfly under test: nginx as the source on server 0, a supernode on server 1, a daemon per client.

Everything runs before the clock starts; then every client runs curl through its own daemon,
used as a forward proxy, whose default rule sends `…/blobs/sha256:…` through the swarm.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from .namespaces import RigError, inside
from .systems import HTTP_PORT, Job, System, curl, start_nginx, wait_for

__all__ = ["Dragonfly"]

_HERE = Path(__file__).parent
_PROXY = "http://127.0.0.1:65001"
_CONTROL = "http://127.0.0.1:8002"


class Dragonfly(System):
    """Options: `bin` (folder of the commands), `supernode_args`, `daemon_args` (blank-separated)."""

    name = "dragonfly"
    gated = True

    def setup(self, job: Job) -> None:
        scenario, ip = job.scenario, job.rig.ip
        start_nginx(job, "s0")
        argv = [
            self._command("supernode"),
            "--data-dir",
            str(job.work / "supernode"),
            "--advertise",
            ip("s1"),
        ]
        if scenario.narrow_mbit:
            argv += ["--zone", f"zone{job.rig.hosts.zone('s1')}"]
        if scenario.seed_rate:
            argv += ["--upload-limit", str(scenario.seed_rate)]
        self._supernode = job.start("s1", argv + self.options.get("supernode_args", "").split())
        wait_for(lambda: self._answers(job, "s1", f"{_CONTROL}/healthz"), 20, "supernode")
        self._daemons = [self._start_daemon(job, i) for i in range(scenario.clients)]
        wait_for(
            lambda: self._joined(job) >= scenario.clients and all(self._ready(job, i) for i in range(scenario.clients)),
            30 + scenario.clients / 2,
            "daemons at the supernode",
        )
        for i in scenario.corrupt:
            self._corrupt(job, i)
        self._before = self._get(job, "s1", f"{_CONTROL}/api/v1/stats")

    def client_argv(self, job: Job, i: int) -> list[str]:
        return curl(job, i, "s0", "-x", _PROXY)

    def peer_pids(self, job: Job) -> list[int]:
        return [daemon.pid for daemon in self._daemons]

    def details(self, job: Job) -> dict[str, object]:
        """The supernode's own account of where bytes came from."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            after = self._get(job, "s1", f"{_CONTROL}/api/v1/stats")
            return {
                key: after[key] - self._before.get(key, 0) for key in ("origin_bytes", "seed_upload_bytes", "p2p_bytes")
            }
        return {}

    # ---------------------------------------------------------------- parts

    def _command(self, name: str) -> str:
        folder = Path(self.options.get("bin", Path(sys.executable).parent))
        found = shutil.which(str(folder / name)) or shutil.which(name)
        if found is None:
            raise RigError(f"no command {name!r}; install the project, or say --opt dragonfly.bin=FOLDER")
        return found

    def _start_daemon(self, job: Job, i: int) -> subprocess.Popen[bytes]:
        argv = [
            self._command("dfdaemon"),
            "--supernode", job.rig.ip("s1"),
            "--data-dir", str(job.folder(i) / "daemon"),
            "--advertise", job.rig.ip(f"c{i}"),
            # As in a data centre: of any other server the daemon wants a proof that it has the content.
            "--registry", f"http://{job.rig.ip('s0')}:{HTTP_PORT}",
            *self.options.get("daemon_args", "").split(),
        ]  # fmt: skip
        if job.scenario.narrow_mbit:
            argv += ["--zone", f"zone{job.rig.hosts.zone(f'c{i}')}"]
        return job.start(f"c{i}", argv, f"daemon-{i}")

    def _joined(self, job: Job) -> int:
        """How many daemons the supernode knows; RigError when one has died."""
        for i, daemon in enumerate(self._daemons):
            if daemon.poll() is not None:
                words = (job.work / "logs" / f"daemon-{i}").read_text(errors="replace")[-1500:]
                raise RigError(f"daemon {i} ended with {daemon.returncode}: {words}")
        with contextlib.suppress(OSError, ValueError):
            peers = self._get(job, "s1", f"{_CONTROL}/api/v1/peers")
            return len(peers if isinstance(peers, list) else peers.get("peers", []))
        return 0

    @staticmethod
    def _ready(job: Job, i: int) -> bool:
        """Whether daemon i takes its clients' requests."""
        return "daemon.ready" in (job.work / "logs" / f"daemon-{i}").read_text(errors="replace")

    def _corrupt(self, job: Job, i: int) -> None:
        """A host whose disk lies: see corrupter.py."""
        job.start(f"c{i}", [sys.executable, str(_HERE / "corrupter.py"), str(job.folder(i) / "daemon")], "corrupter")

    def _answers(self, job: Job, host: str, url: str) -> bool:
        if self._supernode.poll() is not None:
            words = (job.work / "logs" / "s1").read_text(errors="replace")[-1500:]
            raise RigError(f"supernode ended with {self._supernode.returncode}: {words}")
        with contextlib.suppress(OSError):
            self._open(job, host, url)
            return True
        return False

    def _get(self, job: Job, host: str, url: str) -> Any:
        return json.loads(self._open(job, host, url))

    def _open(self, job: Job, host: str, url: str) -> bytes:
        """A request from inside a host."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with inside(job.rig.namespace(host)), opener.open(url, timeout=5) as answer:
            return bytes(answer.read())


def available() -> bool:
    """The commands are there."""
    return shutil.which("dfdaemon") is not None or os.access(Path(sys.executable).parent / "dfdaemon", os.X_OK)
