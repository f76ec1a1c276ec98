"""Nobody gets from the cache what the registry would not give them."""

import os

import aiohttp
import pytest
from multidict import CIMultiDict

from dragonfly.daemon.headers import credentials_of, end_to_end, fingerprint
from unit.daemon.world import World, basic

BLOB = os.urandom(100_000)


async def fetch(world: World, digest: str, headers: dict[str, str], name: str = "private/x") -> tuple[int, bytes, str]:
    async with world.client.get(f"{world.url}/v2/{name}/blobs/{digest}", headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers.get("WWW-Authenticate", "")


async def private(world: World, **settings: object) -> str:
    world.registry.users = {"ann": ("a", {"private/x"}), "bob": ("b", {"public/y"})}
    await world.start(**settings)
    digest = world.registry.add(BLOB)
    assert (await fetch(world, digest, basic("ann", "a")))[:2] == (200, BLOB)
    return digest


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), (basic("ann", "wrong"), 401), (basic("bob", "b"), 403), ({"Authorization": "Bearer forged"}, 401)],
)
async def test_a_cached_blob_is_given_only_to_who_may_read_it(
    world: World, headers: dict[str, str], status: int
) -> None:
    digest = await private(world)
    got, body, challenge = await fetch(world, digest, headers)
    assert got == status
    assert BLOB not in body
    assert body
    assert ("Basic realm" in challenge) is (status == 401)


@pytest.mark.parametrize("extra", [{"Range": "bytes=0-9"}, {"If-None-Match": "*"}, {"Expect": "100-continue"}])
async def test_conditions_and_ranges_open_no_back_door(world: World, extra: dict[str, str]) -> None:
    digest = await private(world)
    assert (await fetch(world, digest, basic("bob", "b") | extra))[0] == 403


async def test_the_same_blob_in_another_repository_needs_that_ones_right(world: World) -> None:
    digest = await private(world)
    assert (await fetch(world, digest, basic("bob", "b"), "public/y"))[0] == 200
    assert (await fetch(world, digest, basic("ann", "a"), "public/y"))[0] == 403


async def test_a_yes_is_remembered_per_credentials_and_a_no_is_not(world: World) -> None:
    digest = await private(world)
    asked = world.registry.count("HEAD", digest)
    await fetch(world, digest, basic("ann", "a"))
    assert world.registry.count("HEAD", digest) == asked
    assert (await fetch(world, digest, basic("bob", "b")))[0] == 403
    world.registry.users["bob"][1].add("private/x")
    assert (await fetch(world, digest, basic("bob", "b")))[0] == 200


async def test_what_is_deleted_through_us_is_gone_at_once(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    url = f"{world.url}/v2/x/blobs/{digest}"
    assert (await fetch(world, digest, {}, "x"))[0] == 200
    async with world.client.delete(url) as answer:
        assert answer.status == 200
    del world.registry.blobs[digest]
    assert (await fetch(world, digest, {}, "x"))[0] == 404


async def test_a_head_is_always_the_registrys_word(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    url = f"{world.url}/v2/x/blobs/{digest}"
    assert (await fetch(world, digest, {}, "x"))[0] == 200
    del world.registry.blobs[digest]
    async with world.client.head(url) as answer:
        assert answer.status == 404


async def test_a_right_that_is_withdrawn_ends(world: World) -> None:
    digest = await private(world, authorized_for=0.0)
    world.registry.users["ann"][1].clear()
    assert (await fetch(world, digest, basic("ann", "a")))[0] == 403


async def test_token_authentication_is_the_clients_own(world: World) -> None:
    world.registry.scheme = "Bearer"
    world.registry.users = {"ann": ("a", {"private/x"})}
    await world.start()
    digest = world.registry.add(BLOB)
    status, _, challenge = await fetch(world, digest, {})
    assert status == 401
    assert challenge == f'Bearer realm="{world.registry.origin}/token",service="test",scope="repository:private/x:pull"'
    assert (await fetch(world, digest, {"Authorization": "Bearer token-of-ann"}))[:2] == (200, BLOB)
    assert world.engine.opened[-1].headers == {"Authorization": "Bearer token-of-ann"}


async def test_a_registry_that_is_down_gives_nothing_away(world: World) -> None:
    digest = await private(world, authorized_for=0.0)
    world.registry.failing = 503
    assert (await fetch(world, digest, basic("ann", "a")))[0] == 503


async def test_by_the_operators_word_what_is_public_outlives_its_registry(world: World) -> None:
    await world.start(when_upstream_down="anonymous-ok", authorized_for=0.0)
    public, other = world.registry.add(BLOB), world.registry.add(BLOB[:10])
    for digest in (public, other):
        assert (await fetch(world, digest, basic("ann", "a") if digest == other else {}))[0] == 200
    world.registry.failing = 503
    assert (await fetch(world, public, {}))[:2] == (200, BLOB)
    assert (await fetch(world, public, basic("ann", "a")))[0] == 503
    assert (await fetch(world, other, {}))[0] == 503


async def test_the_operators_login_serves_clients_without_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("Basic", "Bearer"):
        world.registry.scheme = scheme
    monkeypatch.setenv("TEST_PASSWORD", "a")
    world.registry.users = {"ann": ("a", {"private/x"})}
    origin = world.registry.origin = await world.listen(world.registry.serve)
    from dragonfly.daemon.settings import Registry

    entry = Registry(host=origin.removeprefix("http://"), upstream=origin, username="ann", password_env="TEST_PASSWORD")
    await world.start(registries=(entry,), registry=origin)
    world.registry.origin = origin
    digest = world.registry.add(BLOB)
    assert (await fetch(world, digest, {}))[:2] == (200, BLOB)
    assert world.engine.opened[-1].headers == {"Authorization": "Bearer token-of-ann"}
    assert (await fetch(world, digest, basic("bob", "b")))[0] == 401
    world.registry.manifests["latest"] = b"{}"
    async with world.client.get(f"{world.url}/v2/private/x/manifests/latest") as answer:
        assert answer.status == 200
    assert world.registry.count("GET", "/token") == 1


def test_any_unknown_header_counts_as_a_credential() -> None:
    headers = CIMultiDict({"Authorization": "a", "PRIVATE-TOKEN": "b", "Accept": "c", "User-Agent": "d", "Range": "e"})
    assert credentials_of(headers) == {"Authorization": "a", "PRIVATE-TOKEN": "b"}
    assert fingerprint({}) == ""
    assert fingerprint({"A": "b"}) != fingerprint({"A": "c"})
    assert "secret" not in fingerprint({"Authorization": "secret"})


def test_what_belongs_to_one_connection_stays_there() -> None:
    headers = CIMultiDict({"Connection": "close, X-Hop", "X-Hop": "1", "Keep-Alive": "1", "X-End": "2", "TE": "x"})
    assert dict(end_to_end(headers)) == {"X-End": "2"}


async def test_a_url_signed_for_get_only_can_still_be_had(world: World) -> None:
    await world.start(rules=[])
    from dragonfly.daemon.settings import DaemonSettings, Rule

    world.daemon.reload(DaemonSettings(rules=(Rule(regex="/files/"),)))
    world.registry.files["/files/model"] = (BLOB, {"Content-Type": "x/y", "ETag": '"1"'})
    world.registry.head_forbidden = True
    async with world.client.get(f"{world.registry.origin}/files/model?sig=1", proxy=world.url) as answer:
        assert await answer.read() == BLOB
        assert answer.headers["X-Dragonfly-Source"] == "origin"
    assert isinstance(answer, aiohttp.ClientResponse)
