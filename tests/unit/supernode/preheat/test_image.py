"""Which blobs an image is made of, read from a registry's pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from dragonfly.core.task import TaskSpec
from dragonfly.errors import IntegrityError, SourceError, UsageError
from dragonfly.source.registry import Sources
from dragonfly.supernode.preheat.image import ImageBlobs, ImageName
from dragonfly.testing.origin import Origin, Reply, Seen
from unit.supernode.world import Registry, digest_of


@pytest.fixture
def images() -> Iterator[ImageBlobs]:
    sources = Sources()
    yield ImageBlobs(sources)
    sources.close()


async def resolved(images: ImageBlobs, url: str, *platforms: str, **headers: str) -> list[TaskSpec]:
    return await images.resolve(url, headers, platforms, "")


def digests(specs: list[TaskSpec]) -> set[str]:
    return {spec.digest for spec in specs}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://r.example/v2/a/b/manifests/1.0", ImageName("https://r.example", "a/b", "1.0")),
        ("http://r:5000/v2/a/manifests/sha256:ab", ImageName("http://r:5000", "a", "sha256:ab")),
        ("r.example/a/b:1.0", ImageName("https://r.example", "a/b", "1.0")),
        ("r.example/a", ImageName("https://r.example", "a", "latest")),
        ("r.example/a:1@sha256:ab", ImageName("https://r.example", "a", "sha256:ab")),
        ("r.example/a@sha256:ab", ImageName("https://r.example", "a", "sha256:ab")),
        ("localhost/a", ImageName("http://localhost", "a", "latest")),
        ("localhost:5000/a:x", ImageName("http://localhost:5000", "a", "x")),
        ("127.0.0.1:5000/a", ImageName("http://127.0.0.1:5000", "a", "latest")),
        ("r:5000/a", ImageName("https://r:5000", "a", "latest")),
        ("docker.io/library/alpine:3", ImageName("https://registry-1.docker.io", "library/alpine", "3")),
        ("docker.io/alpine", ImageName("https://registry-1.docker.io", "library/alpine", "latest")),
        ("index.docker.io/team/app", ImageName("https://registry-1.docker.io", "team/app", "latest")),
    ],
)
def test_names(images: ImageBlobs, url: str, name: ImageName) -> None:
    assert images.parse(url) == name


@pytest.mark.parametrize(
    "url",
    [
        "",
        "alpine",
        "library/alpine:3",
        "https://r.example/a:1",
        "ftp://r/v2/a/manifests/1",
        "r.example/",
        "[/a",
        "[x:/a",
    ],
)
def test_what_is_no_image(images: ImageBlobs, url: str) -> None:
    with pytest.raises(UsageError, match=r"REGISTRY/NAME:TAG"):
        images.parse(url)


async def test_an_image_is_its_config_and_its_layers_each_once(images: ImageBlobs, registry: Registry) -> None:
    registry.image(b"one", b"two", b"one", tags=("v1",))
    for url in (registry.url("v1"), registry.reference("v1")):
        specs = await resolved(images, url)
        assert digests(specs) == set(registry.blobs)
        assert len(specs) == 3
        assert all(spec.url == registry.origin.url(f"/v2/team/app/blobs/{spec.digest}") for spec in specs)
        layers = {registry.blobs[spec.digest]: (spec.layer, spec.image) for spec in specs if spec.layer}
        assert layers == {b"one": (1, "team/app@v1"), b"two": (2, "team/app@v1")}


@pytest.fixture
def many(registry: Registry) -> Registry:
    """An index of three platforms and an attestation."""
    children = []
    for number, platform in enumerate(
        [
            {"os": "linux", "architecture": "amd64"},
            {"os": "linux", "architecture": "arm", "variant": "v7"},
            {"os": "linux", "architecture": "arm", "variant": "v6"},
        ]
    ):
        children.append(registry.image(b"layer%d" % number, b"common") | {"platform": platform})
    registry.page({"manifests": [*children, registry.image(b"attestation")]}, "v1")
    return registry


@pytest.mark.parametrize(
    ("platforms", "layers"),
    [
        ((), {b"layer0", b"layer1", b"layer2", b"attestation", b"common"}),
        (("linux/amd64",), {b"layer0", b"common"}),
        (("linux/arm",), {b"layer1", b"layer2", b"common"}),
        (("linux/arm/v7",), {b"layer1", b"common"}),
        (("linux/amd64", "linux/arm/v6"), {b"layer0", b"layer2", b"common"}),
        (("linux",), {b"layer0", b"layer1", b"layer2", b"common"}),
    ],
)
async def test_of_an_index_the_platforms_asked_for(
    images: ImageBlobs, many: Registry, platforms: tuple[str, ...], layers: set[bytes]
) -> None:
    found = {many.blobs[digest] for digest in digests(await resolved(images, many.url("v1"), *platforms))}
    assert {data for data in found if not data.startswith(b"{")} == layers


async def test_a_platform_that_there_is_not(images: ImageBlobs, many: Registry) -> None:
    with pytest.raises(SourceError, match="plan9/386"):
        await resolved(images, many.url("v1"), "plan9/386")


async def test_an_index_in_an_index_but_not_for_ever(images: ImageBlobs, registry: Registry) -> None:
    child = registry.image(b"deep")
    for depth in range(8):
        child = registry.page({"manifests": [child]}, f"v{depth}")
    assert digests(await resolved(images, registry.url("v2"))) == set(registry.blobs)
    with pytest.raises(SourceError, match="index in an index"):
        await resolved(images, registry.url("v7"))


async def test_foreign_layers_are_left_where_they_are(images: ImageBlobs, registry: Registry) -> None:
    layers = [registry.blob(b"own"), registry.blob(b"foreign", urls=["http://elsewhere/x"])]
    registry.page({"config": registry.blob(b"{}"), "layers": layers}, "v1")
    assert digests(await resolved(images, registry.url("v1"))) == {digest_of(b"own"), digest_of(b"{}")}


async def test_a_manifest_is_what_its_digest_says(images: ImageBlobs, registry: Registry, origin: Origin) -> None:
    child = registry.image(b"x")
    registry.page({"manifests": [child]}, "v1")
    origin.serve(f"/v2/team/app/manifests/{child['digest']}", b'{"layers": []}', ranges=False)
    with pytest.raises(IntegrityError):
        await resolved(images, registry.url("v1"))


@pytest.mark.parametrize(
    "page",
    [
        b"<html>log in</html>",
        b"[]",
        b"{}",
        b'{"errors": []}',
        b'{"layers": 5}',
        b'{"layers": [{}]}',
        b'{"schemaVersion": 1}',
        b'{"layers": [{"digest": "nonsense"}]}',
        b'{"layers": [{"digest": "sha256:12"}]}',
        b"[" * 100_000,
        b"\xff",
        b"",
    ],
    ids=lambda page: page[:30],
)
async def test_a_page_that_is_no_manifest(images: ImageBlobs, registry: Registry, page: bytes) -> None:
    registry.page(page, "v1")
    with pytest.raises((SourceError, UsageError)):
        await resolved(images, registry.url("v1"))


async def test_a_refusal_has_its_status(images: ImageBlobs, registry: Registry) -> None:
    with pytest.raises(SourceError) as caught:
        await resolved(images, registry.url("none"))
    assert caught.value.status == 404


# ---------------------------------------------------------------- being let in


def guarded(registry: Registry, origin: Origin, basic: str, *, service: int = 200) -> None:
    """Pages only with the token `good`, which /token gives to who shows `basic`."""
    challenge = f'Bearer realm="{origin.url("/token")}",service="here",scope="repository:team/app:pull"'

    def manifest(seen: Seen) -> Reply:
        if seen.headers.get("authorization") == "Bearer good":
            return Reply()
        return Reply(status=401, headers={"WWW-Authenticate": challenge})

    def token(seen: Seen) -> Reply:
        if seen.headers.get("authorization", "") == basic:
            return Reply(status=service, body=json.dumps({"token": "good"}).encode())
        return Reply(status=403)

    for path in list(origin._contents):
        origin.decide(path, manifest)
    origin.decide("/token", token)


async def test_a_token_is_fetched_for_everybody_and_goes_on_to_the_blobs(
    images: ImageBlobs, registry: Registry, origin: Origin
) -> None:
    registry.page({"manifests": [registry.image(b"x"), registry.image(b"y")]}, "v1")
    guarded(registry, origin, "")
    specs = await resolved(images, registry.url("v1"))
    assert {spec.headers["Authorization"] for spec in specs} == {"Bearer good"}
    assert len(origin.asked("/token")) == 1, "one token for the whole image"
    assert "scope=repository%3Ateam%2Fapp%3Apull" in origin.asked("/token")[0].target


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
async def test_a_password_is_shown_to_the_token_service(
    images: ImageBlobs, registry: Registry, origin: Origin, name: str
) -> None:
    registry.image(b"x", tags=("v1",))
    basic = "Basic " + base64.b64encode(b"me:pass:word").decode()
    guarded(registry, origin, basic)
    specs = await resolved(images, registry.url("v1"), **{name: basic})
    assert {tuple(spec.headers.items()) for spec in specs} == {(("Authorization", "Bearer good"),)}


@pytest.mark.parametrize("shown", ["Bearer stale", "Basic bm90aGluZw==", "Basic \xff", "Basic AAA"])
async def test_who_shows_something_wrong_is_refused(
    images: ImageBlobs, registry: Registry, origin: Origin, shown: str
) -> None:
    registry.image(b"x", tags=("v1",))
    guarded(registry, origin, "Basic right")
    with pytest.raises(SourceError) as caught:
        await resolved(images, registry.url("v1"), Authorization=shown)
    assert caught.value.status in (401, 403)


async def test_a_token_service_at_a_place_that_must_not_be_read(
    images: ImageBlobs, registry: Registry, origin: Origin
) -> None:
    registry.image(b"x", tags=("v1",))
    for realm in ("http://169.254.169.254/latest", "file:///etc/passwd", "http://[", "gopher://x/"):
        challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
        origin.then("/v2/team/app/manifests/v1", Reply(status=401, headers=challenge))
        with pytest.raises((SourceError, UsageError)) as caught:
            await resolved(images, registry.url("v1"))
        assert "root:" not in str(caught.value)
