"""Who may read is not who has it: the source is asked for each client before a stored copy is given.

The client's own headers go along with a HEAD; a yes is remembered for a short time per URL and
credentials (as a hash), a no never. So a blob in the cache is as private as at its registry,
and a right that is withdrawn there ends here within `authorized_for`.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import msgspec
from cachetools import LRUCache, TTLCache
from multidict import CIMultiDict

from dragonfly.core.task import TaskSpec
from dragonfly.daemon.headers import ABOUT_CONTENT, Headers, credentials_of, end_to_end, fingerprint
from dragonfly.daemon.policy import Target
from dragonfly.daemon.settings import DaemonSettings, UpstreamDown
from dragonfly.daemon.upstreams import Upstreams
from dragonfly.errors import SourceUnreachable

__all__ = ["Authorizer", "Grant", "owned", "question"]

_MOST = 20_000
#: A HEAD that gets one of these may still be a GET that is allowed: URLs signed for GET only.
_ASK_BY_GET = frozenset({400, 403, 404, 405, 501})
#: Conditions and ranges are for the bytes that we send, not for the question whether we may.
_OURS = ("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
#: Headers of the source's answer to us that are not for a client who gets the bytes from here.
_OF_ONE_ANSWER = ("accept-ranges", "age", "alt-svc", "content-length", "content-range", "date", "server", "set-cookie")
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d{1,18})")


class Grant(msgspec.Struct, frozen=True):
    """The source let this client in; what it said of the content."""

    url: str
    target: Target
    length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    ranges: bool = False
    """The source says that it gives byte ranges."""
    unasked: bool = False
    """The source is down, and the policy allows it all the same."""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Authorizer:
    """`timer` gives monotonic seconds."""

    def __init__(
        self, upstreams: Upstreams, settings: DaemonSettings, timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._upstreams = upstreams
        self._granted: TTLCache[tuple[str, str], Grant] = TTLCache(_MOST, settings.authorized_for, timer=timer)
        self._public: LRUCache[str, Grant] = LRUCache(_MOST)

    def authorization(self, url: str, target: Target) -> str:
        """What the operator's login came to for `url`, where the client brought none."""
        return self._upstreams.authorization(url, target)

    def forget(self, urls: Sequence[tuple[str, Target]]) -> None:
        """The content may be gone: ask again, whoever comes."""
        gone = {url for url, _ in urls}
        for key in [key for key in self._granted if key[0] in gone]:
            self._granted.pop(key, None)
        for url in gone:
            self._public.pop(url, None)

    @asynccontextmanager
    async def check(
        self,
        urls: Sequence[tuple[str, Target]],
        method: str,
        headers: Headers,
        *,
        follow: bool,
        when_down: UpstreamDown,
        remembered: bool = True,
    ) -> AsyncIterator[Grant | aiohttp.ClientResponse]:
        """A Grant, or the answer of the source that is to be passed on to the client.

        `urls`: where the content may be asked for, in order; the last one's word counts.
        `method` is the client's: a HEAD is always asked, and a refused GET is asked again as a GET,
        so that the client sees the body of the refusal. `follow`: redirects are ours to follow; otherwise they are an
        answer for the client. `remembered`: an earlier yes will do, for the content can't have changed.
        Raises SourceUnreachable where nobody answers.
        """
        asked = question(headers)
        who = fingerprint(credentials_of(headers))
        for url, _ in urls if method == "GET" and remembered else ():
            if (url, who) in self._granted:
                yield self._granted[url, who]
                return
        async with AsyncExitStack() as stack:
            yield await self._first_word(stack, urls, method, asked, who, follow, when_down)

    async def _first_word(
        self,
        stack: AsyncExitStack,
        urls: Sequence[tuple[str, Target]],
        method: str,
        headers: CIMultiDict[str],
        who: str,
        follow: bool,
        when_down: UpstreamDown,
    ) -> Grant | aiohttp.ClientResponse:
        """Of the first that grants, else of the last: its refusal, or what the policy makes of silence."""
        for url, target in urls[:-1]:
            async with AsyncExitStack() as attempt:
                with contextlib.suppress(SourceUnreachable):
                    answer = await attempt.enter_async_context(self._ask(method, url, target, headers, follow))
                    if isinstance(answer, Grant):
                        self._remember(answer, who)
                        return answer
        url, target = urls[-1]
        try:
            answer = await stack.enter_async_context(self._ask(method, url, target, headers, follow))
        except SourceUnreachable:
            known = self._despite(urls, who, when_down)
            if known is None:
                raise
            return known
        if isinstance(answer, Grant):
            self._remember(answer, who)
        elif answer.status >= 500:
            return self._despite(urls, who, when_down) or answer
        return answer

    @asynccontextmanager
    async def _ask(
        self, method: str, url: str, target: Target, headers: CIMultiDict[str], follow: bool
    ) -> AsyncIterator[Grant | aiohttp.ClientResponse]:
        async with self._upstreams.ask("HEAD", url, target=target, headers=headers, follow=follow) as response:
            if 200 <= response.status < 300:
                ranges = response.headers.get("Accept-Ranges", "").lower() == "bytes"
                yield Grant(url, target, response.content_length, _told(response), ranges)
                return
            if method == "HEAD" and response.status not in _ASK_BY_GET:
                yield response
                return
        first = headers.copy()
        first["Range"] = "bytes=0-0"
        async with self._upstreams.ask("GET", url, target=target, headers=first, follow=follow) as response:
            total = _TOTAL.fullmatch(response.headers.get("Content-Range", ""))
            if response.status == 200:
                yield Grant(url, target, response.content_length, _told(response))
            elif response.status in (206, 416) and total is not None:
                yield Grant(url, target, int(total[1]), _told(response), ranges=True)
            else:
                yield response

    def _remember(self, grant: Grant, who: str) -> None:
        # For later answers and many clients: only what belongs to the content.
        grant = msgspec.structs.replace(grant, headers=tuple(filter(_of_content, grant.headers)))
        self._granted[grant.url, who] = grant
        if not who and grant.target.login is None:
            self._public[grant.url] = grant

    def _despite(self, urls: Sequence[tuple[str, Target]], who: str, when_down: UpstreamDown) -> Grant | None:
        """Let a client without credentials have what everybody could have before, if the operator says so."""
        if who or when_down != UpstreamDown.ANONYMOUS_OK:
            return None
        for url, _ in urls:
            known = self._public.get(url)
            if known is not None:
                return msgspec.structs.replace(known, unasked=True)
        return None


def owned(spec: TaskSpec, grant: Grant, headers: Headers) -> TaskSpec:
    """A task of these credentials' own, where it may be that others are given something else by the same URL.

    Two clients see the same where the source tells them the same strong ETag, or a date of what it does
    not call private.
    """
    credentials = credentials_of(headers)
    if spec.digest or not credentials:
        return spec
    etag, control = grant.header("ETag"), grant.header("Cache-Control").lower()
    varies = {name.strip().lower() for name in grant.header("Vary").split(",")} - {"accept-encoding", ""}
    if etag and not etag.startswith("W/"):
        return spec
    if grant.header("Last-Modified") and "private" not in control and "no-store" not in control and not varies:
        return spec
    return msgspec.structs.replace(spec, tag=f"{spec.tag} {fingerprint(credentials)}".strip())


def question(headers: Headers) -> CIMultiDict[str]:
    """A client's headers, as far as they say who asks and for what."""
    asked = end_to_end(headers, drop=(*_OURS, "host", "expect", "content-length"))
    asked["Accept-Encoding"] = "identity"
    return asked


def _told(response: aiohttp.ClientResponse) -> tuple[tuple[str, str], ...]:
    """All that a client may be told, where that was the answer to a HEAD; else what is not of one part only."""
    told = end_to_end(response.headers, drop=_OF_ONE_ANSWER)
    names = {name.lower(): name for name in told}
    found = tuple((name, ", ".join(told.getall(name))) for name in names.values())
    return found if response.method == "HEAD" else tuple(filter(_of_content, found))


def _of_content(header: tuple[str, str]) -> bool:
    return header[0].lower() in ABOUT_CONTENT
