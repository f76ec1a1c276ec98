"""The operator's user and password for a registry, used for clients that bring none.

Basic where the registry asks for it, or the token that its realm gives for them (the
distribution's token authentication); kept until shortly before it ends.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from cachetools import TLRUCache
from multidict import CIMultiDict

from dragonfly.daemon.policy import Login, Target

__all__ = ["Logins", "parse_challenge"]

Send = Callable[[str, str, CIMultiDict[str], str], Awaitable[aiohttp.ClientResponse]]

#: The specification's default for tokens that do not say how long they live.
_TOKEN_LIFE_S = 60.0
_BASIC_LIFE_S = 3600.0
_MAX_ANSWER = 1024 * 1024
_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))')


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    expires_in: float = _TOKEN_LIFE_S


class _Kept(msgspec.Struct, frozen=True):
    header: str
    life_s: float


class Logins:
    """`send` makes one request: method, URL, headers, trust."""

    def __init__(self, send: Send, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._kept: TLRUCache[tuple[str, Login, str], _Kept] = TLRUCache(
            1024, lambda _key, kept, now: now + 0.8 * kept.life_s, timer=clock
        )

    async def ask(
        self, method: str, url: str, headers: CIMultiDict[str], target: Target, login: Login
    ) -> aiohttp.ClientResponse:
        """The answer to a request made in the operator's name, a refusal too."""
        where = (target.netloc, login, _repository(url))
        kept = self._kept.get(where)
        response = await self._send(method, url, _with(headers, kept), target.trust)
        if response.status != 401:
            return response
        kept = await self._answer(response.headers.getall("WWW-Authenticate", []), target, login)
        if kept is None:
            return response
        response.close()
        self._kept[where] = kept
        return await self._send(method, url, _with(headers, kept), target.trust)

    def header(self, url: str, target: Target, login: Login) -> str:
        """The Authorization that let the last such request in, or nothing."""
        kept = self._kept.get((target.netloc, login, _repository(url)))
        return kept.header if kept is not None else ""

    async def _answer(self, challenges: list[str], target: Target, login: Login) -> _Kept | None:
        """The Authorization that answers a 401; None where there is no way that we know."""
        basic = "Basic " + base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        for scheme, parameters in map(parse_challenge, challenges):
            if scheme == "basic":
                return _Kept(basic, _BASIC_LIFE_S)
            realm = parameters.get("realm", "")
            # A password for an https registry is not shown over plain HTTP, whoever asks for it.
            if scheme == "bearer" and realm.startswith(("https:", target.base.partition("/")[0])):
                query = [(key, parameters[key]) for key in ("service",) if key in parameters]
                query += [("scope", scope) for scope in parameters.get("scope", "").split()]
                url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
                response = await self._send("GET", url, CIMultiDict({"Authorization": basic}), target.trust)
                try:
                    found = msgspec.json.decode(await _body(response), type=_Token)
                except (msgspec.DecodeError, ValueError, RecursionError, aiohttp.ClientError):
                    return None
                finally:
                    response.close()
                token = found.token or found.access_token
                if token:
                    return _Kept(f"Bearer {token}", max(10.0, found.expires_in))
        return None


def parse_challenge(text: str) -> tuple[str, dict[str, str]]:
    """`Bearer realm="…",service="…"` → ("bearer", {"realm": …, …})."""
    scheme, _, rest = text.strip().partition(" ")
    found = {
        match[1].lower(): re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        for match in _PARAMETER.finditer(rest)
    }
    return scheme.lower(), found


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """At most _MAX_ANSWER bytes of a token's answer; nothing for a refusal."""
    body = b""
    while response.status == 200 and len(body) < _MAX_ANSWER:
        more = await response.content.read(_MAX_ANSWER)
        if not more:
            break
        body += more
    return body


def _repository(url: str) -> str:
    """What a token is for: `/v2/<name>` of the URL, or nothing in particular."""
    path = urlsplit(url).path
    match = re.match(r"(.*/v2/.+?)/(?:blobs|manifests|tags|referrers)/", path)
    return match[1] if match else ""


def _with(headers: CIMultiDict[str], kept: _Kept | None) -> CIMultiDict[str]:
    if kept is None:
        return headers
    with_login = headers.copy()
    with_login["Authorization"] = kept.header
    return with_login
