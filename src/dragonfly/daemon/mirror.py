"""The registry's face: `/v2/…` as the OCI distribution specification says.

Blobs come by the swarm once the registry has let this client in; everything else (ping,
manifests, tags, referrers, uploads) is the registry's own answer, passed through.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from dragonfly.core.digest import Digest
from dragonfly.core.task import TaskSpec
from dragonfly.daemon.authorize import Authorizer
from dragonfly.daemon.layers import Layers
from dragonfly.daemon.policy import Policy, Target, Upstream
from dragonfly.daemon.proof import Proofs
from dragonfly.daemon.straight import Rewrite, Straight, relay, rewriter
from dragonfly.daemon.swarmed import NotBegun, Swarmed
from dragonfly.daemon.upstreams import Upstreams
from dragonfly.errors import UsageError

__all__ = ["Mirror", "blob_digest", "split_namespace"]

#: Only names that every registry reads in the same way: what is asked there and what is served here is one blob.
_BLOB = re.compile(
    r"/v2/(?P<name>[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*)"
    r"/blobs/(?P<digest>[a-z0-9+._-]+:[0-9a-f]+)"
)


class Mirror:
    """Answers requests to registries; which one is meant is decided by who calls."""

    def __init__(
        self,
        upstreams: Upstreams,
        authorizer: Authorizer,
        proofs: Proofs,
        straight: Straight,
        swarmed: Swarmed,
        layers: Layers,
    ) -> None:
        self._upstreams = upstreams
        self._authorizer = authorizer
        self._proofs = proofs
        self._straight = straight
        self._swarmed = swarmed
        self._layers = layers

    async def serve(
        self, request: web.BaseRequest, policy: Policy, upstream: Upstream, path: str, namespace: str, ours: str
    ) -> web.StreamResponse:
        """Answer `path` (with its query, without `ns=`) of `upstream`.

        `ours`: scheme and host by which the client came here. Raises SourceUnreachable.
        """
        urls, by_swarm = self._ways(policy, upstream, path)
        digest = blob_digest(path)
        rewrite = rewriter(urls[-1][1].base, ours, namespace)
        if digest is None or request.method not in ("GET", "HEAD"):
            if digest is not None and request.method == "DELETE":
                self._authorizer.forget(urls)
            return await self._straight.pass_on(request, urls, rewrite=rewrite)
        if not by_swarm:
            return await self._straight.pass_on(request, urls, follow=True)
        return await self.blob(request, policy, urls, digest, rewrite)

    async def blob(
        self,
        request: web.BaseRequest,
        policy: Policy,
        urls: list[tuple[str, Target]],
        digest: Digest,
        rewrite: Rewrite | None = None,
    ) -> web.StreamResponse:
        """GET or HEAD of a blob that may be had at `urls`."""
        when_down = policy.settings.when_upstream_down
        async with self._authorizer.check(
            urls, request.method, request.headers, follow=True, when_down=when_down
        ) as grant:
            if isinstance(grant, aiohttp.ClientResponse):
                return await relay(request, grant, rewrite)
        place = self._layers.place(digest)
        spec = TaskSpec(
            url=grant.url,
            digest=str(digest),
            headers=self._credentials(request, grant.url, grant.target),
            trust=grant.target.trust,
            image=place.image,
            layer=place.layer,
        )
        told = {
            "ETag": f'"{digest}"',
            "Docker-Content-Digest": str(digest),
            "Content-Type": grant.header("Content-Type") or "application/octet-stream",
            "Docker-Distribution-Api-Version": "registry/2.0",
        }
        prove = None if policy.vouches_for(grant.url) else self._proofs.by(grant, spec.key, request.headers)
        try:
            return await self._swarmed.serve(request, spec, grant, told, prove)
        except NotBegun as failure:
            if grant.unasked:
                raise failure.__cause__ or failure from None
            # No room on disk, or a swarm in trouble: the client still gets what it asked for.
            return await self._straight.pass_on(request, urls, follow=True)

    def _credentials(self, request: web.BaseRequest, url: str, target: Target) -> dict[str, str]:
        """For the seed, which reads the registry in this client's name."""
        authorization = request.headers.get("Authorization") or self._upstreams.authorization(url, target)
        return {"Authorization": authorization} if authorization else {}

    @staticmethod
    def _ways(policy: Policy, upstream: Upstream, path: str) -> tuple[list[tuple[str, Target]], bool]:
        """Where `path` is asked, in order, by the rules; and whether blobs come by the swarm."""
        url = upstream.itself.base + path
        verdict = policy.rules.decide(url)
        by_swarm = verdict.p2p or not verdict.matched
        if verdict.url != url:
            origin = verdict.url.removesuffix(path)
            return [(verdict.url, policy.direct(origin))], by_swarm
        return [(target.base + path, target) for target in upstream.targets], by_swarm


def blob_digest(path: str) -> Digest | None:
    """The digest that a path of a registry names, if it names a blob by a digest that we can check."""
    form = _BLOB.fullmatch(unquote(path.partition("?")[0]))
    if form is None:
        return None
    try:
        return Digest.parse(form["digest"])
    except UsageError:
        return None


def split_namespace(path: str) -> tuple[str, str]:
    """The path without containerd's `ns=`, otherwise as it was, and what that said."""
    bare, mark, query = path.partition("?")
    if not mark:
        return path, ""
    pairs = query.split("&")
    namespaces = [unquote(pair[3:]) for pair in pairs if pair.startswith("ns=")]
    if not namespaces:
        return path, ""
    rest = "&".join(pair for pair in pairs if not pair.startswith("ns="))
    return (f"{bare}?{rest}" if rest else bare), namespaces[0]
