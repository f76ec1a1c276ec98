"""The forward proxy: absolute URLs, and what arrives in a hijacked CONNECT.

Each URL goes the way that the rules say: GETs that match go by the swarm, once the source has
let this client in; the rest passes through. Registry blobs inside take the mirror's way, so a
layer pulled through the proxy and through the P2P domain is one task.
"""

from __future__ import annotations

import aiohttp
from aiohttp import web

from dragonfly.core.task import TaskSpec
from dragonfly.daemon.authorize import Authorizer, owned
from dragonfly.daemon.headers import credentials_of, naming_of
from dragonfly.daemon.mirror import Mirror, blob_digest
from dragonfly.daemon.policy import Policy, Target, origin_of, port_of, split_host
from dragonfly.daemon.problems import refusal
from dragonfly.daemon.settings import Hijack
from dragonfly.daemon.straight import Straight, relay
from dragonfly.daemon.swarmed import NotBegun, Swarmed
from dragonfly.daemon.upstreams import Upstreams

__all__ = ["Proxy"]

_VIA = "1.1 dragonfly"


class Proxy:
    """Answers requests for absolute http and https URLs."""

    def __init__(
        self, upstreams: Upstreams, authorizer: Authorizer, straight: Straight, swarmed: Swarmed, mirror: Mirror
    ) -> None:
        self._upstreams = upstreams
        self._authorizer = authorizer
        self._straight = straight
        self._swarmed = swarmed
        self._mirror = mirror

    async def serve(
        self, request: web.BaseRequest, policy: Policy, url: str, hijacked: Hijack | None = None
    ) -> web.StreamResponse:
        """Fetch `url` for the client. Raises SourceUnreachable."""
        host, _ = split_host(origin_of(url).partition("://")[2])
        if not host:
            return refusal(request, 400, f"not a URL that can be fetched: {url[:200]}")
        if not policy.permits(url):
            return refusal(
                request,
                403,
                f"this host may not be asked for through the proxy: {host}:{port_of(url)}; add it to `permit`",
            )
        verdict = policy.rules.decide(url)
        target = policy.direct(origin_of(verdict.url), hijacked)
        urls = [(verdict.url, target)]
        if not verdict.p2p or request.method not in ("GET", "HEAD") or request.can_read_body:
            return await self._pass_on(request, urls)
        digest = blob_digest("/" + verdict.url.partition("://")[2].partition("/")[2])
        if digest is not None:
            return await self._mirror.blob(request, policy, urls, digest)
        if request.method == "HEAD":
            return await self._pass_on(request, urls)
        async with self._authorizer.check(
            urls,
            "GET",
            request.headers,
            follow=False,
            when_down=policy.settings.when_upstream_down,
            remembered=False,
        ) as grant:
            if isinstance(grant, aiohttp.ClientResponse):
                return await relay(request, grant)
        login = self._upstreams.authorization(verdict.url, target)
        spec = TaskSpec(
            url=verdict.url,
            headers=naming_of(request.headers)
            | ({"Authorization": login} if login else {})
            | credentials_of(request.headers),
            filters=verdict.filters,
            trust=target.trust,
        )
        spec = owned(spec, grant, request.headers)
        try:
            return await self._swarmed.serve(request, spec, grant, {"Via": _VIA})
        except NotBegun as failure:
            if grant.unasked:
                raise failure.__cause__ or failure from None
            return await self._pass_on(request, urls)

    async def _pass_on(self, request: web.BaseRequest, urls: list[tuple[str, Target]]) -> web.StreamResponse:
        via = ", ".join([*request.headers.getall("Via", []), _VIA])
        return await self._straight.pass_on(request, urls, extra={"Via": via})
