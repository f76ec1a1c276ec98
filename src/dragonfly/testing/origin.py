"""An origin that does what it is told: a small HTTP/1.1 server on a raw socket, with every way to misbehave.

    with Origin() as origin:
        origin.serve("/f", b"…", etag='"1"')                 # a good server: ranges, validators, HEAD
        origin.then("/f", Reply(503), Reply(cut_after=1000))  # but first these, once each
        source.open(SourceRequest(url=origin.url("/f")))
        assert origin.seen[0].headers["range"] == "bytes=0-99"

It runs in threads of its own, so it serves blocking and asyncio clients alike.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

__all__ = ["Content", "Origin", "Reply", "Seen"]

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_REASONS = {200: "OK", 206: "Partial Content", 304: "Not Modified", 404: "Not Found", 416: "Range Not Satisfiable"}
_LOST_AFTER_S = 20.0


class Seen(msgspec.Struct, frozen=True):
    """A request as it came. Header names in lower case; of several equal ones the last."""

    method: str
    target: str
    headers: dict[str, str]
    connection: int
    """Number of the connection it came on, from 0: equal ones show that it was kept."""


class Content(msgspec.Struct, kw_only=True):
    """What a path holds, and how good its server is."""

    data: bytes
    etag: str = ""
    last_modified: str = ""
    ranges: bool = True
    head: bool = True
    """False: HEAD is answered 405, as signed URLs often do."""
    chunked: bool = False
    """No length is told."""
    headers: dict[str, str] = {}


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer out of turn. Where `status` is 0 the content's own answer is given, with the faults below."""

    status: int = 0
    headers: dict[str, str] = {}
    body: bytes = b""
    raw: bytes = b""
    """Sent as it is instead of an answer."""
    cut_after: int | None = None
    """Reset the connection after so many bytes of the body."""
    stall_after: int | None = None
    """Be silent after so many bytes of the body, until the client goes or the origin ends."""
    refuse: bool = False
    """Close without an answer."""


def reply(status: int, **fields: object) -> Reply:
    """Short for `Reply(status=…, …)`."""
    return msgspec.convert({"status": status, **fields}, Reply)


class Origin:
    """Use by `with`. `tls`: a context for a server of https."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.sent_bytes = 0
        """Bytes of bodies, of all answers."""
        self._contents: dict[str, Content] = {}
        self._scripts: dict[str, deque[Reply]] = {}
        self._handlers: dict[str, Callable[[Seen], Reply]] = {}
        self._tls = tls
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    # ---------------------------------------------------------------- what it holds

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    def serve(self, path: str, data: bytes, **how: object) -> str:
        """Hold `data` at `path` (its query does not count); `how` as in `Content`. Returns the URL."""
        self._contents[path] = msgspec.convert({"data": data, **how}, Content)
        return self.url(path)

    def withdraw(self, path: str) -> None:
        self._contents.pop(path, None)

    def then(self, path: str, *replies: Reply) -> None:
        """Answer the next requests for `path` by these, one each; after them by its content again."""
        self._scripts.setdefault(path, deque()).extend(replies)

    def decide(self, path: str, handler: Callable[[Seen], Reply]) -> None:
        """Ask `handler` for each answer at `path` (a `Reply()` means the content's own)."""
        self._handlers[path] = handler

    def asked(self, path: str, method: str = "") -> list[Seen]:
        """Requests for `path` so far."""
        return [
            one for one in self.seen if one.target.partition("?")[0] == path and (not method or one.method == method)
        ]

    # ---------------------------------------------------------------- life

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_LOST_AFTER_S)

    def drop_connections(self) -> None:
        """Close all that are open, as a restarted server does."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _start(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._talk, sock, self._connections)
            self._connections += 1

    def _talk(self, plain: socket.socket, number: int) -> None:
        sock = plain
        try:
            plain.settimeout(_LOST_AFTER_S)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(plain, server_side=True)
            with self._lock:
                self._open.add(sock)
            with sock.makefile("rb") as lines:
                while not self._ending.is_set() and (line := lines.readline(65536)).strip():
                    headers: dict[str, str] = {}
                    while (field := lines.readline(65536)).strip():
                        name, _, value = field.decode("latin-1").partition(":")
                        headers[name.strip().lower()] = value.strip()
                    method, target, _ = line.decode("latin-1").split(" ", 2)
                    seen = Seen(method, target, headers, number)
                    self.seen.append(seen)
                    if not self._answer(sock, seen):
                        return
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    # ---------------------------------------------------------------- answers

    def _answer(self, sock: socket.socket, seen: Seen) -> bool:
        """Whether the connection stays open."""
        path = seen.target.partition("?")[0]
        script = self._scripts.get(path)
        handler = self._handlers.get(path)
        turn = script.popleft() if script else handler(seen) if handler else Reply()
        if turn.refuse:
            return False
        if turn.raw:
            sock.sendall(turn.raw)
            return False
        if turn.status:
            status, headers, body, chunked = turn.status, dict(turn.headers), turn.body, False
        else:
            status, headers, body, chunked = self._own(seen, path)
            headers |= turn.headers
        named = {name.lower() for name in headers}
        bare = status in (204, 304)
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif "content-length" not in named and not bare:
            headers["Content-Length"] = str(len(body))
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\n"
        sock.sendall((head + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode("latin-1"))
        if seen.method == "HEAD" or bare:
            return True
        stop = turn.cut_after if turn.cut_after is not None else turn.stall_after
        self._send(sock, body if stop is None else body[:stop], chunked=chunked, ends=stop is None)
        if turn.cut_after is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if turn.stall_after is not None:
            with contextlib.suppress(OSError):
                sock.recv(1)
            return False
        return True

    def _send(self, sock: socket.socket, body: bytes, *, chunked: bool, ends: bool) -> None:
        if chunked:
            for at in range(0, len(body), 8192):
                part = body[at : at + 8192]
                sock.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            if ends:
                sock.sendall(b"0\r\n\r\n")
        else:
            sock.sendall(body)
        with self._lock:
            self.sent_bytes += len(body)

    def _own(self, seen: Seen, path: str) -> tuple[int, dict[str, str], bytes, bool]:
        """Status, headers, body and whether it is chunked, of a good server (as good as `Content` says)."""
        content = self._contents.get(path)
        if content is None:
            return 404, {}, b"no such page\n", False
        if seen.method == "HEAD" and not content.head:
            return 405, {}, b"", False
        headers = dict(content.headers)
        if content.etag:
            headers["ETag"] = content.etag
        if content.last_modified:
            headers["Last-Modified"] = content.last_modified
        if _unchanged(seen, content):
            return 304, headers, b"", False
        data = content.data
        if not content.ranges:
            return 200, headers, data, content.chunked
        headers["Accept-Ranges"] = "bytes"
        form = _RANGE.fullmatch(seen.headers.get("range", ""))
        condition = seen.headers.get("if-range", "")
        if form is None or (condition and condition not in (content.etag, content.last_modified)):
            return 200, headers, data, content.chunked
        start, end = int(form[1]), min(int(form[2] or len(data)) + 1, len(data))
        if start >= len(data):
            return 416, headers | {"Content-Range": f"bytes */{len(data)}"}, b"", False
        total = "*" if content.chunked else str(len(data))
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{total}"
        return 206, headers, data[start:end], content.chunked


def _unchanged(seen: Seen, content: Content) -> bool:
    if tags := seen.headers.get("if-none-match"):
        return bool(content.etag) and content.etag in [tag.strip() for tag in tags.split(",")]
    since = seen.headers.get("if-modified-since")
    return bool(since) and since == content.last_modified
