"""The demo's clients: an image as a runtime pulls it, and a file; every byte is checked."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from demo.image import Image
from demo.swarm import COMMANDS, Node

_BUFFER = 256 * 1024
_SILENCE_S = 60.0
_LAYERS_AT_ONCE = 3  # as docker does


class Progress:
    """What one node has so far, for the screen. Written by the pulling threads, read by the screen's."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.had = 0
        self.seconds = 0.0
        self.done = False
        self.error = ""


def pull_image(url: str, image: Image, progress: Progress) -> None:
    """Manifest, configuration and layers from the registry at `url`, as docker fetches them.

    Raises ValueError where a digest is wrong, OSError where the connection is.
    """
    began = time.monotonic()
    manifest = json.loads(_fetch(url, f"/v2/{image.name}/manifests/{image.tag}", image.manifest, None))
    blobs = [entry["digest"] for entry in (manifest["config"], *manifest["layers"])]

    def one(digest: str) -> None:
        _fetch(url, f"/v2/{image.name}/blobs/{digest}", digest, progress)

    with ThreadPoolExecutor(_LAYERS_AT_ONCE) as pool:
        list(pool.map(one, blobs))
    progress.seconds = time.monotonic() - began


def pull_file(url: str, path: str, digest: str, progress: Progress) -> None:
    """One file by a plain GET, as curl does it."""
    began = time.monotonic()
    _fetch(url, path, digest, progress)
    progress.seconds = time.monotonic() - began


def dfget(url: str, output: Path, digest: str, node: Node, progress: Progress) -> None:
    """One file by `dfget` through a node's daemon. ValueError where it fails."""
    began, before = time.monotonic(), node.received()
    running = subprocess.Popen(
        [COMMANDS / "dfget", url, "-o", output, "--digest", digest, "--data-dir", node.data, "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while True:
        try:
            out, err = running.communicate(timeout=0.25)
            break
        except subprocess.TimeoutExpired:
            progress.had = min(progress.total, node.received() - before)
    if running.returncode:
        raise ValueError(f"dfget: status {running.returncode}: {err.strip()}")
    progress.seconds = time.monotonic() - began
    with output.open("rb") as file:
        if "sha256:" + hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise ValueError("dfget brought other bytes")
    progress.had = output.stat().st_size
    json.loads(out.strip().splitlines()[-1])


def _fetch(url: str, path: str, digest: str, progress: Progress | None) -> bytes:
    """The body of a GET, whose sha256 must be `digest`; small ones are returned, others only counted."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=_SILENCE_S)
    try:
        connection.request("GET", path, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"{path}: status {answer.status} {answer.reason}")
        check, kept, buffer = hashlib.sha256(), bytearray(), memoryview(bytearray(_BUFFER))
        while count := answer.readinto(buffer):
            check.update(buffer[:count])
            if progress is None:
                kept += buffer[:count]
            else:
                progress.had += count
        if answer.length:
            raise ValueError(f"{path}: broke off {answer.length} bytes before the end")
        if f"sha256:{check.hexdigest()}" != digest:
            raise ValueError(f"{path}: other bytes than {digest}")
        return bytes(kept)
    finally:
        connection.close()
