"""Bytes from HTTP servers: registries, object stores, web servers.

urllib3 does HTTP, TLS, pools and proxies; redirects are followed here, since each hop is
checked and credentials do not cross origins. Content codings are left as they are: what is
shared is the bytes of the answer.
"""

from __future__ import annotations

import base64
import http.client
import re
import ssl
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import msgspec
import urllib3
from cachetools import LRUCache

from dragonfly.core.task import INSECURE
from dragonfly.core.validators import Validators
from dragonfly.errors import SourceError, SourceUnreachable
from dragonfly.source.base import Described, SourceRequest
from dragonfly.source.policy import SourcePolicy

__all__ = ["HttpSource"]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_HOPS = 10
#: What does not cross to another origin, by what is in the header's name.
_SECRET_HEADER = re.compile(r"auth|cookie|token|secret|password|credential|session|api-?key|-key$", re.IGNORECASE)
_MOST_RETRY_AFTER_S = 3600.0
_SHOWN_HEADERS = (
    "content-type", "content-encoding", "content-disposition", "content-language", "etag", "last-modified",
    "cache-control", "docker-content-digest",
)  # fmt: skip
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_DIGEST = re.compile(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")


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
            self._check(response, url)
            return _described(response)
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
            self._check(response, url)
            described = _described(response)
            expected: int | None
            if response.status == 206:
                expected = self._check_range(response, url, start, end)
            elif start > 0:
                raise SourceError(
                    "the source gives no byte ranges", subject=_shown(url), advice="read it from the start"
                )
            else:
                expected = described.length
                if ranged:
                    described = msgspec.structs.replace(described, ranges=False)
        except BaseException:
            response.close()
            raise
        return _Stream(response, described, expected, _shown(url))

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
            self._check(response, url)
            seen = _described(response).validators
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
            _check_form(url)
            self._policy.check_url(url)
            url, headers = _without_user(url, headers)
            response = self._once(method, url, headers, request)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                return response, url
            response.close()
            target = _joined(url, location)
            if _origin(target) != _origin(url):
                headers = {name: value for name, value in headers.items() if not _SECRET_HEADER.search(name)}
            url = target
        raise SourceError("too many redirects", subject=_shown(request.url), advice="look at it with curl -L")

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
            raise _translated(error.reason or error, url) from error
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
            raise _translated(error, url) from error

    def _pool(self, trust: str) -> urllib3.PoolManager:
        """Connections are kept per trust. No proxy of the environment is used: it may well be this node's own."""
        with self._lock:
            pool = self._pools.get(trust)
            if pool is None:
                pool = self._pools[trust] = _CheckedPools(
                    self._policy, maxsize=16, num_pools=64, block=False, ssl_context=_context(trust)
                )
            return pool

    def _check(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        status = response.status
        if status in (200, 206):
            return
        what = f"the source answered {status} {response.reason or ''}".rstrip()
        challenge = response.headers.get("www-authenticate", "")
        advice = {
            401: "give credentials (log in, or -H 'Authorization: …')",
            403: "these credentials may not read it",
            404: "check the name",
            416: "the range lies outside the content",
            429: "it is asked too often; try later",
        }.get(status, "look at the source's log" if status >= 500 else "")
        kind = SourceUnreachable if status >= 500 or status in (408, 429) else SourceError
        raise kind(
            what,
            subject=_shown(url),
            advice=advice,
            status=status,
            challenge=challenge,
            retry_after=_retry_after(response.headers.get("retry-after", "")) if kind is SourceUnreachable else 0.0,
        )

    def _check_range(self, response: urllib3.BaseHTTPResponse, url: str, start: int, end: int | None) -> int:
        form = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if form is None or int(form[1]) != start or (end is not None and int(form[2]) >= end):
            raise SourceError("the source gave another range than was asked for", subject=_shown(url))
        return int(form[2]) + 1 - start


class _CheckedPools(urllib3.PoolManager):
    """Pools whose connections look at the address that they reached before anything is sent."""

    def __init__(self, policy: SourcePolicy, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]

        class Checked(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                _check_peer(policy, self)

        class CheckedTls(urllib3.connection.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                self.is_verified = True  # or not, by the operator's word: no warning at each request
                _check_peer(policy, self)

        class Http(urllib3.HTTPConnectionPool):
            ConnectionCls = Checked

        class Https(urllib3.HTTPSConnectionPool):
            ConnectionCls = CheckedTls

        self.pool_classes_by_scheme = {"http": Http, "https": Https}


def _check_peer(policy: SourcePolicy, connection: urllib3.connection.HTTPConnection) -> None:
    try:
        policy.check_address(connection.host, connection.sock.getpeername()[0])
    except BaseException:
        connection.close()
        raise


def _context(trust: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if trust == INSECURE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust:
        try:
            context.load_verify_locations(cadata=trust)
        except (ssl.SSLError, ValueError, TypeError) as error:
            raise SourceError("the CA file holds no certificate", advice=f"name one in PEM form ({error})") from None
    return context


def _described(response: urllib3.BaseHTTPResponse) -> Described:
    headers = response.headers
    length: int | None = None
    if response.status == 206:
        form = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        length = int(form[3]) if form is not None and form[3] != "*" else None
    elif (text := headers.get("content-length", "")).isdecimal() and len(text) <= 18:
        length = int(text)
    digest = headers.get("docker-content-digest", "")
    shown = {name: headers[name] for name in _SHOWN_HEADERS if name in headers}
    return Described(
        length=length,
        ranges=response.status == 206 or headers.get("accept-ranges", "").lower() == "bytes",
        digest=digest if _DIGEST.fullmatch(digest) else "",
        validators=Validators.of(shown),
        headers=shown,
    )


def _translated(error: BaseException, url: str) -> SourceError:
    if isinstance(error, SourceError):
        return error
    if isinstance(error, ValueError | http.client.InvalidURL) and not isinstance(error, OSError):
        # The text of these repeats what could not be sent: the URL with its query, or a header's value.
        return SourceError(
            "the request can't be sent",
            subject=_shown(url),
            advice=f"check the URL and the headers ({type(error).__name__})",
        )
    text = str(error)
    if isinstance(error, urllib3.exceptions.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return SourceError(
            "the source's certificate can't be trusted",
            subject=_shown(url),
            advice=f"{text}; name its CA with --upstream-ca FILE, or --insecure-upstream HOST",
        )
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return SourceUnreachable(
            "the source's name can't be resolved", subject=_shown(url), advice="check name and DNS"
        )
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return SourceUnreachable("the source does not answer", subject=_shown(url), advice=text)
    return SourceUnreachable("the source can't be reached", subject=_shown(url), advice=text)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _joined(url: str, location: str) -> str:
    """Where a redirect leads; SourceError where that is nowhere."""
    try:
        target = urljoin(url, location)
    except ValueError:
        target = ""
    return _check_form(target)


def _check_form(url: str) -> str:
    """`url`, where it can be asked for; SourceError where it is none, or of another scheme (a redirect to file:)."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise SourceError("not a URL that can be read", subject=_shown(url), advice="write http(s)://HOST/PATH")
    return url


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("?")[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _merged(*parts: dict[str, str]) -> dict[str, str]:
    """Headers in one; later ones win, however they are written."""
    found: dict[str, tuple[str, str]] = {}
    for part in parts:
        for name, value in part.items():
            found[name.lower()] = (name, value)
    return dict(found.values())


def _retry_after(text: str) -> float:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3: a number or a date); 0 where it is neither."""
    if text.strip().isdecimal():
        return min(_MOST_RETRY_AFTER_S, float(text[:9]))
    try:
        wait = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(_MOST_RETRY_AFTER_S, max(0.0, wait))


def _without_user(url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """`user:password@` in a URL becomes an Authorization header."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, headers
    token = base64.b64encode(unquote(user).encode()).decode("ascii")
    named = {name.lower() for name in headers}
    if "authorization" not in named:
        headers = headers | {"Authorization": f"Basic {token}"}
    return urlunsplit((parts.scheme, host, parts.path, parts.query, "")), headers
