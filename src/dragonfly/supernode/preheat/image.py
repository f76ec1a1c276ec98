"""Which blobs an image is made of: its manifest, or its index with all (or the chosen) platforms."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from dragonfly.core.digest import Digest
from dragonfly.core.manifest import DOCKER_MANIFEST, OCI_MANIFEST, Descriptor, Manifest
from dragonfly.core.task import TaskSpec
from dragonfly.errors import IntegrityError, SourceError, UsageError
from dragonfly.source.base import SourceRequest
from dragonfly.source.challenge import authorization_for
from dragonfly.source.registry import Sources

__all__ = ["ImageBlobs", "ImageName"]

_ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        OCI_MANIFEST,
        "application/vnd.docker.distribution.manifest.list.v2+json",
        DOCKER_MANIFEST,
    )
)
_MANIFEST_LIMIT = 16 * 1024 * 1024
_URL = re.compile(r"(https?://[^/]+)/v2/(.+)/manifests/([^/]+)")
_REFERENCE = re.compile(r"([^/]+)/(.+?)(?::([\w][\w.-]{0,127}))?(?:@([a-z0-9]+:[0-9a-f]+))?")
_TOO_DEEP = 4
#: The name is older than its registry's host.
_DOCKER_NAMES = frozenset({"docker.io", "index.docker.io"})
_DOCKER_HUB = "registry-1.docker.io"


class ImageName(NamedTuple):
    """`base` is the registry's URL without a path."""

    base: str
    name: str
    reference: str


class ImageBlobs:
    """Reads manifests with `sources`; credentials come with the request, or a token is fetched for them."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def parse(self, url: str) -> ImageName:
        """A manifest URL or a reference `REGISTRY/NAME[:TAG][@DIGEST]`; UsageError for anything else."""
        if (form := _URL.fullmatch(url)) is not None:
            return ImageName(form[1], form[2], form[3])
        if "://" not in url and (form := _REFERENCE.fullmatch(url)) is not None:
            host, name = form[1], form[2]
            if host in _DOCKER_NAMES:
                host, name = _DOCKER_HUB, name if "/" in name else f"library/{name}"
            if (host_name := _host_name(host)) and ("." in host or ":" in host or host == "localhost"):
                scheme = "http" if host_name in ("localhost", "127.0.0.1", "::1") else "https"
                return ImageName(f"{scheme}://{host}", name, form[4] or form[3] or "latest")
        raise UsageError(
            "not an image", subject=url, advice="write https://REGISTRY/v2/NAME/manifests/TAG or REGISTRY/NAME:TAG"
        )

    async def resolve(
        self, url: str, headers: dict[str, str], platforms: tuple[str, ...], trust: str
    ) -> list[TaskSpec]:
        """Every blob of the image (of all platforms where none are given) as a task, each once."""
        name = self.parse(url)
        return await asyncio.to_thread(self._resolve, name, headers, platforms, trust)

    def _resolve(
        self, name: ImageName, headers: dict[str, str], platforms: tuple[str, ...], trust: str
    ) -> list[TaskSpec]:
        reader = _Reader(self._sources, name, headers, trust)
        blobs: dict[str, TaskSpec] = {}
        pending = [(name.reference, 0)]
        chosen = 0
        while pending:
            reference, depth = pending.pop()
            manifest = reader.manifest(reference)
            if manifest.manifests is not None:
                if depth >= _TOO_DEEP:
                    raise SourceError("an index in an index in an index", subject=name.name)
                pending += [(child.digest, depth + 1) for child in _of(manifest.manifests, platforms)]
                continue
            chosen += 1
            for layer, blob in enumerate((manifest.config, *manifest.layers)):
                if blob is None or blob.urls:
                    continue  # foreign layers lie elsewhere, and may not be passed on
                Digest.parse(blob.digest)
                spec = TaskSpec(
                    url=f"{name.base}/v2/{name.name}/blobs/{blob.digest}",
                    digest=blob.digest,
                    headers=reader.headers,
                    trust=trust,
                    image=f"{name.name}@{reference}" if layer else "",
                    layer=layer,
                )
                blobs.setdefault(blob.digest, spec)
        if not chosen:
            raise SourceError("the image has none of these platforms", subject=", ".join(platforms) or name.name)
        return list(blobs.values())


def _of(children: Iterable[Descriptor], platforms: tuple[str, ...]) -> list[Descriptor]:
    if not platforms:
        return list(children)
    wanted = [tuple(platform.split("/")) for platform in platforms]

    def fits(child: Descriptor) -> bool:
        has = child.platform
        if has is None:
            return False
        own = (has.os, has.architecture, has.variant)
        return any(want == own[: len(want)] for want in wanted)

    return [child for child in children if fits(child)]


class _Reader:
    """Reads the manifests of one image; remembers the token that let it in."""

    def __init__(self, sources: Sources, name: ImageName, headers: dict[str, str], trust: str) -> None:
        self.headers = dict(headers)
        self._sources = sources
        self._name = name
        self._trust = trust

    def manifest(self, reference: str) -> Manifest:
        url = f"{self._name.base}/v2/{self._name.name}/manifests/{reference}"
        source = self._sources.for_url(url)
        expected = Digest.parse(reference) if ":" in reference else None  # an index may name what is none
        try:
            data = self._get(url)
        except SourceError as error:
            request = SourceRequest(url=url, trust=self._trust)
            basic = {key.lower(): value for key, value in self.headers.items()}.get("authorization", "")
            if error.status != 401 or basic.startswith("Bearer"):
                raise
            token = authorization_for(error.challenge, source, request, **_login(basic))
            if not token:
                raise
            self.headers = {k: v for k, v in self.headers.items() if k.lower() != "authorization"}
            self.headers["Authorization"] = token
            data = self._get(url)
        if expected is not None and Digest.of(data, expected.algorithm) != expected:
            raise IntegrityError("a manifest is not what its digest says", subject=url)
        try:
            manifest = msgspec.json.decode(data, type=Manifest)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise SourceError("not an image manifest", subject=url, advice=str(error)) from None
        if manifest.manifests is None and manifest.config is None and not manifest.layers:
            raise SourceError("not an image manifest", subject=url, advice="it names no blobs")
        return manifest

    def _get(self, url: str) -> bytes:
        request = SourceRequest(url=url, headers=self.headers | {"Accept": _ACCEPT}, trust=self._trust)
        body = bytearray()
        scrap = memoryview(bytearray(64 * 1024))
        with self._sources.for_url(url).open(request) as stream:
            while (count := stream.readinto(scrap)) > 0:
                body += scrap[:count]
                if len(body) > _MANIFEST_LIMIT:
                    raise SourceError("a manifest that is too long", subject=url)
        return bytes(body)


def _host_name(host: str) -> str:
    """Of HOST[:PORT]; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _login(basic: str) -> dict[str, str]:
    """User and password of a Basic header."""
    try:
        user, _, password = base64.b64decode(basic.removeprefix("Basic ")).decode().partition(":")
    except ValueError:  # not base64, or not text
        return {}
    return {"user": user, "password": password}
