"""Bytes from HTTP servers: registries, object stores, web servers.

urllib3 does HTTP, TLS, pools and proxies; redirects are followed here, since each hop is
checked and credentials do not cross origins. Content codings are left as they are: what is
shared is the bytes of the answer.
"""

from __future__ import annotations

import http.client
import re
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec
import urllib3
from cachetools import LRUCache

from dragonfly.core.validators import Validators
from dragonfly.errors import SourceError, SourceUnreachable
from dragonfly.source.answers import check_range, check_status, described_by, translated
from dragonfly.source.base import Described, SourceRequest
from dragonfly.source.connections import CheckedPools, tls_context
from dragonfly.source.policy import SourcePolicy
from dragonfly.source.urls import check_form, joined, origin, shown, without_user

__all__ = ["HttpSource"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS = 10
#: What does not cross to another origin, by what is in the header's name.
_SECRET_HEADER = re.compile(r"auth|cookie|token|secret|password|credential|session|api-?key|-key$", re.IGNORECASE)


class _Stream:
    """An answer's body. `readinto` goes from the socket into the caller's memory."""

    def __init__(
        self, response: urllib3.BaseHTTPResponse, described: Described, expected: int | None, url: str
    ) -> None:
        self.described = described
        self._response = response
        self._expected = expected
        self._received = 0
        self._url = url
        # http.client's own readinto takes the bytes without a copy; urllib3's makes one, so it is
        # only used where a transfer coding has to be undone.
        raw = getattr(response, "_fp", None)
        self._raw = raw if not response.headers.get("transfer-encoding") and hasattr(raw, "readinto") else None

    def readinto(self, buffer: memoryview) -> int:
        left = len(buffer) if self._expected is None else min(len(buffer), self._expected - self._received)
        if left <= 0:
            return 0
        try:
            if self._raw is not None:
                count = int(self._raw.readinto(buffer[:left]))
            else:
                data = self._response.read(left)
                count = len(data)
                buffer[:count] = data
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise SourceUnreachable(
                "the source broke off", subject=self._url, advice=f"after {self._received:,} bytes: {error}"
            ) from error
        self._received += count
        if count == 0 and self._expected is not None:
            raise SourceUnreachable(
                "the source broke off",
                subject=self._url,
                advice=f"it sent {self._received:,} of {self._expected:,} bytes",
            )
        return count

    def abort(self) -> None:
        """From another thread: a read that waits for a silent source ends now (urllib3 2.3 and later)."""
        shutdown = getattr(self._response, "shutdown", None)
        if shutdown is not None:
            with suppress(OSError, ValueError, RuntimeError):
                shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(urllib3.exceptions.HTTPError, OSError):
            if self._raw is not None and self._received == self._expected and getattr(self._raw, "length", None) == 0:
                self._raw.read()  # lets http.client see the end, so that the connection is kept
                self._response.release_conn()
            else:
                self._response.close()


class HttpSource:
    """`http` and `https`. Shared by threads; pools are kept per trust."""

    def __init__(self, policy: SourcePolicy | None = None) -> None:
        self._policy = policy or SourcePolicy()
        self._lock = threading.Lock()
        self._pools: LRUCache[str, urllib3.PoolManager] = LRUCache(64)
        self._pool("")  # to read the system's CAs takes longer than to answer a small request

    def describe(self, request: SourceRequest) -> Described:
        response, url = self._request("HEAD", request, {})
        try:
            if response.status in (403, 405, 501) or (
                response.status == 200 and response.headers.get("content-length") is None
            ):
                # Signed URLs are often good for GET only, and some servers know no HEAD.
                response.close()
                response, url = self._request("GET", request, {"Range": "bytes=0-0"})
                if response.status == 416:
                    response.close()  # an empty content has no byte to give a range of
                    response, url = self._request("GET", request, {})
            check_status(response, url)
            return described_by(response)
        finally:
            response.close()

    def open(self, request: SourceRequest, start: int = 0, end: int | None = None) -> _Stream:
        ranged = start > 0 or end is not None
        extra = {"Range": f"bytes={start}-{'' if end is None else end - 1}"} if ranged else {}
        response, url = self._request("GET", request, extra)
        if response.status == 416 and start == 0:
            response.close()  # an empty content has no byte to give a range of
            response, url = self._request("GET", request, {})
        try:
            check_status(response, url)
            described = described_by(response)
            expected: int | None
            if response.status == 206:
                expected = check_range(response, url, start, end)
            elif start > 0:
                raise SourceError(
                    "the source gives no byte ranges", subject=shown(url), advice="read it from the start"
                )
            else:
                expected = described.length
                if ranged:
                    described = msgspec.structs.replace(described, ranges=False)
        except BaseException:
            response.close()
            raise
        return _Stream(response, described, expected, shown(url))

    def unchanged(self, request: SourceRequest, validators: Validators) -> bool:
        extra: dict[str, str] = {}
        if validators.etag:
            extra["If-None-Match"] = validators.etag
        elif validators.last_modified:
            extra["If-Modified-Since"] = validators.last_modified
        else:
            return False
        response, url = self._request("HEAD", request, extra)
        try:
            if response.status == 304:
                return True
            if response.status in (403, 405, 501):
                response.close()
                response, url = self._request("GET", request, extra | {"Range": "bytes=0-0"})
                if response.status == 304:
                    return True
            if response.status == 416:
                return False  # it is empty now
            check_status(response, url)
            seen = described_by(response).validators
            if validators.etag:
                return seen.etag == validators.etag
            return seen.last_modified == validators.last_modified
        finally:
            response.close()

    def close(self) -> None:
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    # ---------------------------------------------------------------- one request

    def _request(
        self, method: str, request: SourceRequest, extra: dict[str, str]
    ) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Ask, following redirects; returns the answer (body unread) and the URL that gave it."""
        headers = _merged({"Accept-Encoding": "identity", "User-Agent": "dragonfly"}, request.headers, extra)
        url = request.url
        for _ in range(_MOST_HOPS):
            check_form(url)
            self._policy.check_url(url)
            url, headers = without_user(url, headers)
            response = self._once(method, url, headers, request)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                return response, url
            response.close()
            target = joined(url, location)
            if origin(target) != origin(url):
                headers = {name: value for name, value in headers.items() if not _SECRET_HEADER.search(name)}
            url = target
        raise SourceError("too many redirects", subject=shown(request.url), advice="look at it with curl -L")

    def _once(self, method: str, url: str, headers: dict[str, str], request: SourceRequest) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool(request.trust).request(
                method,
                url,
                headers=headers,
                preload_content=False,
                decode_content=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=min(10.0, request.timeout_s), read=request.timeout_s),
                # A busy answer is an answer here, with its status; when to ask again is the engine's to decide.
                retries=urllib3.Retry(
                    connect=1, read=0, redirect=False, status=0, other=0, respect_retry_after_header=False
                ),
            )
        except urllib3.exceptions.MaxRetryError as error:
            raise translated(error.reason or error, url) from error
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise translated(error, url) from error

    def _pool(self, trust: str) -> urllib3.PoolManager:
        """Connections are kept per trust. No proxy of the environment is used: it may well be this node's own."""
        with self._lock:
            pool = self._pools.get(trust)
            if pool is None:
                pool = self._pools[trust] = CheckedPools(
                    self._policy, maxsize=16, num_pools=64, block=False, ssl_context=tls_context(trust)
                )
            return pool


def _merged(*parts: dict[str, str]) -> dict[str, str]:
    """Headers in one; later ones win, however they are written."""
    found: dict[str, tuple[str, str]] = {}
    for part in parts:
        for name, value in part.items():
            found[name.lower()] = (name, value)
    return dict(found.values())
