"""The BitTorrent systems: aria2 and libtorrent, both with the best settings we found.

A tracker in the hub, the full file on both servers, at time zero a client on each host.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

from .bt_tracker import bencode
from .systems import Job, NotApplicable, System, at_the_line, wait_for

__all__ = ["Aria2", "Libtorrent"]

_HERE = Path(__file__).parent
_TRACKER_PORT = 6969


class BitTorrent(System):
    """What the two share: torrent file, tracker, waiting for the seeds."""

    marker = True
    piece = 32768

    def prepare(self, job: Job) -> Path:
        """Write the torrent, start the tracker; returns the torrent's path."""
        if job.scenario.corrupt_share or job.scenario.seed_copies:
            raise NotApplicable("not measured for BitTorrent")
        blob = job.blob
        piece = int(self.options.get("piece", self.piece))
        body = blob.path.read_bytes()
        hashes = b"".join(hashlib.sha1(body[at : at + piece]).digest() for at in range(0, blob.size, piece))
        info = {
            b"length": blob.size,
            b"name": blob.path.name.encode(),
            b"piece length": piece,
            b"pieces": hashes,
        }
        meta = {b"announce": f"http://{job.rig.hub_ip}:{_TRACKER_PORT}/announce".encode(), b"info": info}
        torrent = job.work / "file.torrent"
        torrent.write_bytes(bencode(meta))
        numwant, interval = self.options.get("numwant", "50"), self.options.get("interval", "5")
        argv = [
            sys.executable,
            str(_HERE / "bt_tracker.py"),
            job.rig.hub_ip,
            str(_TRACKER_PORT),
            numwant,
            interval,
        ]
        job.start("hub", argv, "tracker")
        wait_for(lambda: b"listening" in self._tracker_log(job), 10, "tracker")
        return torrent

    def wait_seeds(self, job: Job) -> None:
        wait_for(lambda: self._tracker_log(job).count(b" left=0 ") >= job.rig.hosts.servers, 60, "seeds")

    def _tracker_log(self, job: Job) -> bytes:
        return (job.work / "logs" / "tracker").read_bytes()


class Aria2(BitTorrent):
    """aria2c on both sides. A client makes its mark from on-bt-download-complete."""

    name = "aria2"
    gated = True
    piece = 131072

    def setup(self, job: Job) -> None:
        self._torrent = self.prepare(job)
        self._hook = job.work / "hook.sh"
        # aria2 passes: download id, number of files, path of the first file
        self._hook.write_text(f'#!/bin/sh\nd="${{3%/*}}"\n: > "{job.work}/done/${{d##*/c}}"\n')
        self._hook.chmod(0o755)
        for i in range(job.rig.hosts.servers):
            job.start(f"s{i}", [*self._argv(job.blob.path.parent), "--bt-seed-unverified=true", str(self._torrent)])
        self.wait_seeds(job)

    def _argv(self, folder: Path) -> list[str]:
        o = self.options
        return [
            "aria2c", "--no-conf=true", "--quiet=true", "--enable-color=false", "--disable-ipv6=true",
            "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false",
            "--enable-peer-exchange=true", "--bt-require-crypto=false", "--bt-min-crypto-level=plain",
            "--listen-port=6881", "--file-allocation=none", "--allow-overwrite=true",
            "--check-integrity=false", "--seed-ratio=0.0",
            "--seed-time=100000", f"--bt-max-peers={o.get('max_peers', '55')}",
            f"--bt-request-peer-speed-limit={o.get('req_speed', '50K')}", "--max-overall-upload-limit=0",
            f"--bt-tracker-interval={o.get('interval', '5')}", f"--disk-cache={o.get('disk_cache', '16M')}",
            "--auto-save-interval=0", "--summary-interval=0", "--max-connection-per-server=1",
            f"--dir={folder}",
        ]  # fmt: skip

    def client_argv(self, job: Job, i: int) -> list[str]:
        argv = [*self._argv(job.folder(i)), f"--on-bt-download-complete={self._hook}", str(self._torrent)]
        return at_the_line(job, i, argv)


class Libtorrent(BitTorrent):
    """libtorrent's Python binding on both sides, of this interpreter or Debian's (option `python`: of another);
    options "lt.<name>" are its settings."""

    name = "libtorrent"
    gated = True

    def setup(self, job: Job) -> None:
        asked = self.options.get("python")
        for python in [asked] if asked else [sys.executable, "/usr/bin/python3"]:
            if subprocess.run([python, "-c", "import libtorrent"], capture_output=True, check=False).returncode == 0:
                self._python = python
                break
        else:
            raise NotApplicable("no Python here has libtorrent (pip: libtorrent; Debian: python3-libtorrent)")
        self._torrent = self.prepare(job)
        for i in range(job.rig.hosts.servers):
            job.start(f"s{i}", self._argv("seed", job.blob.path.parent, "-", "-"))
        self.wait_seeds(job)

    def _argv(self, mode: str, folder: Path, ready: str, done: str) -> list[str]:
        own = json.dumps({key: value for key, value in self.options.items() if key.startswith("lt.")})
        return [
            self._python,
            str(_HERE / "bt_peer.py"),
            mode,
            str(self._torrent),
            str(folder),
            ready,
            done,
            own,
        ]

    def client_argv(self, job: Job, i: int) -> list[str]:
        return self._argv("leech", job.folder(i), str(job.ready(i)), str(job.done(i)))
