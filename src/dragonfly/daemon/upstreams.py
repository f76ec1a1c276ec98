"""The HTTP client towards registries and other sources: one pool of connections, errors of ours.

Bodies and heads pass as they are: nothing is decompressed, redirected, cookied or added.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urljoin, urlsplit

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from dragonfly.core.task import shown_url
from dragonfly.daemon.headers import credentials_of
from dragonfly.daemon.logins import Logins
from dragonfly.daemon.policy import Target, origin_of
from dragonfly.daemon.settings import DaemonSettings
from dragonfly.errors import SourceError, SourceUnreachable
from dragonfly.net.tls import client_context

__all__ = ["Upstreams"]

_READ_BUFFER = 1024 * 1024
_MAX_REDIRECTS = 10
#: Methods that may be sent again where a kept connection turns out to be closed (RFC 9110 §9.2.2).
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Upstreams:
    """Ask sources. Connects at the first need; `close` it in the end."""

    def __init__(self, settings: DaemonSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self._logins = Logins(self._send)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def ask(
        self,
        method: str,
        url: str,
        *,
        target: Target,
        headers: CIMultiDict[str],
        body: aiohttp.StreamReader | None = None,
        follow: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and have its answer, whatever its status, until the context ends.

        `target` says how its origin is trusted, and holds the operator's login for requests that
        bring no Authorization. `follow`: go where redirects point, without credentials once the
        origin changes. Raises SourceUnreachable with 502 or 504 as its status where there is no answer.
        """
        login = target.login if "Authorization" not in headers else None
        if login is not None and body is None:
            response = await self._logins.ask(method, url, headers, target, login)
        else:
            response = await self._send(method, url, headers, target.trust, body)
        try:
            hops = 0
            while follow and response.status in _REDIRECTS and "Location" in response.headers:
                hops += 1
                if hops > _MAX_REDIRECTS:
                    raise SourceError("too many redirects", subject=_shown(url), advice="look at the registry")
                onward = urljoin(url, response.headers["Location"])
                response.close()
                if urlsplit(onward).scheme not in ("http", "https"):
                    raise SourceError(
                        "a redirect to no web address", subject=_shown(url), advice="look at the registry"
                    )
                if origin_of(onward) != origin_of(url):
                    headers = headers.copy()
                    for name in credentials_of(headers):
                        headers.popall(name, None)
                url = onward
                response = await self._send(method, url, headers, target.trust, None)
            yield response
        finally:
            response.close()

    def authorization(self, url: str, target: Target) -> str:
        """What the operator's login came to at the last request for `url`, for the engine to use too."""
        return self._logins.header(url, target, target.login) if target.login is not None else ""

    async def _send(
        self,
        method: str,
        url: str,
        headers: CIMultiDict[str],
        trust: str,
        body: aiohttp.StreamReader | None = None,
    ) -> aiohttp.ClientResponse:
        session = self._open()
        context: ssl.SSLContext | bool = client_context(trust) if url.startswith("https:") else True
        attempts = 2 if body is None and method in _REPEATABLE else 1
        while True:
            attempts -= 1
            try:
                # encoded: signed query strings and odd paths arrive as they were written.
                return await session.request(
                    method,
                    URL(url, encoded=True),
                    headers=headers,
                    data=body,
                    ssl=context,
                    allow_redirects=False,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # A kept connection that the other side has just closed.
                if attempts and not isinstance(error, aiohttp.ClientConnectorError):
                    continue
                raise _unreachable(url, error) from None
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                raise _unreachable(url, error) from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=20),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=settings.connect_timeout, sock_read=settings.upstream_timeout
                ),
                max_line_size=settings.max_head,
                max_field_size=settings.max_head,
                max_headers=1024,
                read_bufsize=_READ_BUFFER,
            )
        return self._session


def _unreachable(url: str, error: BaseException) -> SourceUnreachable:
    """What went wrong, in words for who asked, with 502 or 504 as the status to answer with."""
    where = _shown(url)
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            reason = error.certificate_error if isinstance(error, aiohttp.ClientConnectorCertificateError) else error
            return SourceUnreachable(
                "the TLS handshake with the source failed",
                subject=f"{where} ({reason})",
                advice="give its CA with --upstream-ca, or its host with --insecure-upstream",
            )
        case aiohttp.ClientConnectorDNSError():
            return SourceUnreachable(
                "the source's name can't be resolved",
                subject=where,
                advice="check its spelling and the DNS",
            )
        case asyncio.TimeoutError():
            return SourceUnreachable(
                "the source does not answer in time",
                subject=where,
                advice="try again, or check the network",
            )
        case aiohttp.ClientConnectorError():
            return SourceUnreachable(
                "the source can't be reached",
                subject=f"{where} ({error.strerror or error.os_error})",
                advice="check that it runs and that this node may connect to it",
            )
        case aiohttp.InvalidURL() | ValueError():
            return SourceUnreachable("not a URL that can be asked", subject=where, advice="check it")
        case _:
            return SourceUnreachable(
                "the source broke off",
                subject=f"{where} ({type(error).__name__})",
                advice="try again",
            )


def _shown(url: str) -> str:
    """Without user and query: fit for logs and answers."""
    return shown_url(url).partition("?")[0]
