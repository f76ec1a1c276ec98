"""The registry of the demo: manifests, blobs and files by HTTP, all of it through one narrow uplink.

Every answer's body takes its bytes from one token bucket, so many clients share the rate as they
would share a registry's cable. It counts what it sends.
"""

from __future__ import annotations

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from dragonfly.core.rate import TokenBucket

_BLOCK = 64 * 1024
_PATHS = re.compile(
    r"/v2/(?P<name>[a-z0-9/_-]+)/(?P<kind>manifests|blobs)/(?P<reference>[\w:.-]+)|/files/(?P<file>\w+)"
)


class Origin:
    """Serves an OCI layout as a registry does, and files below /files/. Leave it by `with`."""

    def __init__(self, rate: int, layout: Path, manifests: dict[str, str], files: dict[str, Path]) -> None:
        """`rate` in bytes/s for everybody together; `manifests`: tag → digest."""
        self.sent = 0
        self.requests = 0
        self._layout, self._manifests, self._files = layout, manifests, files
        self._bucket, self._lock = TokenBucket(rate, 2 * _BLOCK), threading.Lock()
        handler = type("Handler", (_Handler,), {"origin": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="origin")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def find(self, path: str) -> tuple[Path, str, str] | None:
        """File, content type and digest behind a path; None where there is nothing."""
        found = _PATHS.fullmatch(path.partition("?")[0])
        if found is None:
            return None
        if found["file"]:
            file = self._files.get(found["file"])
            return None if file is None else (file, "application/octet-stream", "")
        digest = found["reference"]
        kind = "application/octet-stream"
        if found["kind"] == "manifests":
            digest = self._manifests.get(digest, digest)
            kind = "application/vnd.oci.image.manifest.v1+json"
        file = self._layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
        return (file, kind, digest) if file.exists() else None

    def allow(self, count: int) -> None:
        """Wait for the uplink's leave to send `count` bytes, and count them."""
        while True:
            with self._lock:
                wait = self._bucket.delay(time.monotonic())
                if wait == 0.0:
                    self._bucket.take(count, time.monotonic())
                    self.sent += count
                    return
            time.sleep(wait)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: Origin

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.origin.requests += 1
        if self.path in ("/v2/", "/v2"):
            self._head(200, 0, {})
            return
        found = self.origin.find(self.path)
        if found is None:
            self._head(404, 0, {})
            return
        file, kind, digest = found
        size = file.stat().st_size
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes", "ETag": f'"{digest or file.name}"'}
        if digest:
            headers["Docker-Content-Digest"] = digest
        start, end, status = 0, size, 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and int(asked[1]) < size:
            start, status = int(asked[1]), 206
            end = min(int(asked[2]) + 1, size) if asked[2] else size
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._head(status, end - start, headers)
        if self.command == "GET":
            self._body(file, start, end)

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _body(self, file: Path, start: int, end: int) -> None:
        with file.open("rb") as opened:
            opened.seek(start)
            while start < end:
                block = opened.read(min(_BLOCK, end - start))
                self.origin.allow(len(block))
                try:
                    self.wfile.write(block)
                except OSError:  # the client left
                    self.close_connection = True
                    return
                start += len(block)

    def log_message(self, *_: object) -> None:
        """The demo's screen is for the progress."""
