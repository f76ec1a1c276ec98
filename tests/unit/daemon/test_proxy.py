import os

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from dragonfly.daemon.settings import DaemonSettings, Permit, Rule
from dragonfly.errors import SourceUnreachable, UsageError
from unit.daemon.standin import ranged
from unit.daemon.world import World, basic

BODY = os.urandom(300_000)
P2P = (Rule(regex="blobs/sha256.*"), Rule(regex="/files/", filters=("sig",)))


async def prepared(world: World, **settings: object) -> World:
    await world.start(**({"rules": P2P} | settings))
    world.registry.files["/files/a"] = (
        BODY,
        {"Content-Type": "x/y", "ETag": '"v1"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"},
    )
    world.registry.files["/page"] = (b"page", {"Content-Type": "text/plain"})
    return world


async def test_a_matching_get_goes_by_the_engine(world: World) -> None:
    await prepared(world)
    async with world.client.get(f"{world.registry.origin}/files/a", proxy=world.url) as answer:
        assert await answer.read() == BODY
    assert answer.headers["Content-Type"] == "x/y"
    assert answer.headers["ETag"] == '"v1"'
    assert answer.headers["X-Dragonfly-Source"] == "origin"
    assert answer.headers["X-Dragonfly-Task"].startswith("url-")
    assert answer.headers["Via"] == "1.1 dragonfly"


async def test_conditions_and_ranges_are_right(world: World) -> None:
    await prepared(world)
    url = f"{world.registry.origin}/files/a"
    for headers, status in (
        ({"Range": "bytes=10-19"}, 206),
        ({"If-None-Match": '"v1"'}, 304),
        ({"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 304),
        ({"If-Modified-Since": "Sun, 31 Dec 2023 00:00:00 GMT"}, 200),
        ({"If-None-Match": '"v0"', "If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
        ({"Range": "bytes=10-19", "If-Range": "Mon, 01 Jan 2024 00:00:00 GMT"}, 206),
        ({"If-Match": '"v0"'}, 412),
        ({"If-Match": 'W/"v1"'}, 412),
        ({"If-Match": '"v0", "v1"', "Range": "bytes=10-19"}, 206),
        ({"If-Match": "*", "If-Unmodified-Since": "Sun, 31 Dec 2023 00:00:00 GMT"}, 200),
        ({"If-Unmodified-Since": "Sun, 31 Dec 2023 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
    ):
        async with world.client.get(url, headers=headers, proxy=world.url) as answer:
            assert answer.status == status, headers


async def test_what_the_source_says_of_a_file_reaches_the_client(world: World) -> None:
    """Checksums of repositories, versions of object stores; but not what is about one answer of the source."""
    await prepared(world)
    said = {"X-Checksum-Sha1": "abc", "x-amz-version-id": "7", "Vary": "Accept-Encoding", "Link": '<a>; rel="b"'}
    world.registry.files["/files/b"] = (BODY, {"ETag": '"b"', "Age": "5", "Set-Cookie": "a=b", "Alt-Svc": "h3", **said})
    for _ in range(2):
        async with world.client.get(f"{world.registry.origin}/files/b", proxy=world.url) as answer:
            assert await answer.read() == BODY
        assert {name: answer.headers.get(name) for name in said} == said
        assert not {"Age", "Set-Cookie", "Alt-Svc"} & set(answer.headers)


@pytest.mark.parametrize(
    ("said", "shared"),
    [
        ({}, False),
        ({"ETag": '"same"'}, True),
        ({"ETag": 'W/"same"'}, False),
        ({"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, True),
        ({"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "Cache-Control": "max-age=9, private"}, False),
        ({"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "Vary": "Accept-Encoding, Authorization"}, False),
    ],
)
async def test_what_may_be_for_one_user_only_is_not_given_to_another(
    world: World, said: dict[str, str], shared: bool
) -> None:
    await prepared(world)

    async def personal(request: web.BaseRequest) -> web.StreamResponse:
        return ranged(request, request.headers.get("Authorization", "nobody").encode() * 1000, said)

    url = await world.listen(personal) + "/files/me"
    got = []
    for who in ("ann!", "bob!", "ann!"):
        async with world.client.get(url, headers={"Authorization": who}, proxy=world.url) as answer:
            got.append((await answer.text())[:4])
    assert len(world.engine.copies) == (1 if shared else 2)
    assert got == (["ann!"] * 3 if shared else ["ann!", "bob!", "ann!"])


async def test_signatures_do_not_make_another_task(world: World) -> None:
    await prepared(world)
    for signature in ("1", "2"):
        async with world.client.get(f"{world.registry.origin}/files/a?sig={signature}", proxy=world.url) as answer:
            assert await answer.read() == BODY
    assert len(world.engine.copies) == 1


async def test_what_no_rule_matches_passes_through(world: World) -> None:
    await prepared(world)
    async with world.client.get(f"{world.registry.origin}/page?a=%2F&b", proxy=world.url) as answer:
        assert await answer.read() == b"page"
        assert answer.headers["X-Dragonfly-Source"] == "pass"
    async with world.client.get(URL(f"{world.registry.origin}/page?a=%2F", encoded=True), proxy=world.url) as answer:
        assert answer.status == 200
    assert world.registry.asked[-1][1] == "/page?a=%2F"
    assert world.registry.asked[-1][2]["Via"] == "1.1 dragonfly"
    assert not world.engine.opened


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND"])
async def test_other_methods_pass_through(world: World, method: str) -> None:
    await prepared(world)
    data = b"x" * 100_000 if method in ("POST", "PUT", "PATCH") else None
    async with world.client.request(method, f"{world.registry.origin}/files/a", data=data, proxy=world.url) as answer:
        assert answer.status == 200
    assert world.registry.asked[-1][0] == method
    assert not world.engine.opened


async def test_a_registrys_blob_is_the_same_task_as_by_the_mirror(world: World) -> None:
    await prepared(world)
    digest = world.registry.add(BODY)
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}") as answer:
        await answer.read()
    async with world.client.get(f"{world.registry.origin}/v2/y/blobs/{digest}", proxy=world.url) as answer:
        assert await answer.read() == BODY
        assert answer.headers["X-Dragonfly-Source"] == "cache"


async def test_a_redirect_by_rule_asks_another_host(world: World) -> None:
    await prepared(world)
    host = world.registry.origin.removeprefix("http://")
    world.daemon.reload(DaemonSettings(rules=(Rule(regex="old.example/", redirect=host, direct=True),)))
    async with world.client.get("http://old.example/page", proxy=world.url) as answer:
        assert await answer.read() == b"page"


async def test_redirects_of_the_source_are_the_clients_to_follow(world: World) -> None:
    await prepared(world)
    digest = world.registry.add(BODY)
    world.registry.redirect = True
    world.daemon.reload(DaemonSettings(rules=(Rule(regex="blobs/", direct=True),)))
    url = f"{world.registry.origin}/v2/x/blobs/{digest}"
    async with world.client.get(url, proxy=world.url, allow_redirects=False) as answer:
        assert answer.status == 307
        assert answer.headers["Location"].startswith(world.registry.storage)


async def test_the_white_list_keeps_others_out(world: World) -> None:
    await prepared(world, permit=(Permit(host="127\\.0\\.0\\.1"),))
    async with world.client.get(f"{world.registry.origin}/page", proxy=world.url) as answer:
        assert answer.status == 200
    async with world.client.get("http://localhost:9/x", proxy=world.url) as answer:
        assert answer.status == 403
        assert "localhost:9" in await answer.text()
    async with world.client.get(f"{world.url}/v2/x/tags/list?ns=evil.example") as answer:
        assert answer.status == 403


async def test_an_unreachable_source_is_explained(world: World) -> None:
    await prepared(world)
    async with world.client.get("http://127.0.0.1:9/files/x?secret=1", proxy=world.url) as answer:
        assert answer.status == 502
        text = await answer.text()
    assert "http://127.0.0.1:9/files/x" in text
    assert "secret" not in text


async def test_a_file_is_not_given_to_who_may_not_read_it(world: World) -> None:
    await prepared(world)
    world.registry.users = {"ann": ("a", {"files"})}
    digest = world.registry.add(BODY)
    url = f"{world.registry.origin}/v2/files/blobs/{digest}"
    async with world.client.get(url, proxy=world.url, headers=basic("ann", "a")) as answer:
        assert answer.status == 200
    async with world.client.get(url, proxy=world.url) as answer:
        assert answer.status == 401


async def test_headers_that_let_in_go_to_the_engine_and_those_of_the_proxy_do_not(world: World) -> None:
    await prepared(world)
    headers = {"PRIVATE-TOKEN": "t", "Proxy-Authorization": "Basic x", "Accept": "x/y", "Range": "bytes=0-1"}
    async with world.client.get(f"{world.registry.origin}/files/a", headers=headers, proxy=world.url) as answer:
        assert answer.status == 206
    assert {k.lower(): v for k, v in world.engine.opened[-1].headers.items()} == {"private-token": "t", "accept": "x/y"}


async def test_when_the_engine_cannot_the_source_can(world: World) -> None:
    await prepared(world)
    world.engine.refuse = SourceUnreachable("no swarm")
    async with world.client.get(f"{world.registry.origin}/files/a", proxy=world.url) as answer:
        assert await answer.read() == BODY
        assert answer.headers["X-Dragonfly-Source"] == "pass"


async def test_a_url_of_our_own_does_not_go_round_in_circles(world: World) -> None:
    await prepared(world)
    async with world.client.get(f"{world.url}/healthz", proxy=world.url) as answer:
        assert await answer.text() == "ok\n"
    async with world.client.get(f"http://localhost:{world.port}/v2/", proxy=world.url) as answer:
        assert answer.status == 200


async def test_a_bad_reload_leaves_the_old_rules(world: World) -> None:
    await prepared(world)
    with pytest.raises(UsageError, match="not a regular expression"):
        world.daemon.reload(DaemonSettings(rules=(Rule(regex="("),)))
    async with world.client.get(f"{world.registry.origin}/files/a", proxy=world.url) as answer:
        assert answer.headers["X-Dragonfly-Source"] == "origin"


async def test_a_reload_does_not_touch_a_running_pull(world: World) -> None:
    await prepared(world)
    world.engine.hold_at = 1000
    async with world.client.get(f"{world.registry.origin}/files/a", proxy=world.url) as answer:
        await answer.content.readexactly(1000)
        world.daemon.reload(DaemonSettings(rules=()))
        world.engine.release.set()
        assert len(await answer.content.read()) == len(BODY) - 1000
    async with world.client.get(f"{world.registry.origin}/files/a", proxy=world.url) as answer:
        assert answer.headers["X-Dragonfly-Source"] == "pass"
        assert isinstance(answer, aiohttp.ClientResponse)


async def test_an_older_copy_of_the_swarm_is_not_given(world: World) -> None:
    """The engine's copies are as old as it thinks right; what the source says to this client counts."""
    await prepared(world)
    url = f"{world.registry.origin}/files/a"
    for body, tag, source in ((BODY, '"v1"', "origin"), (BODY[:1000], '"v2"', "pass"), (BODY, '"v1"', "cache")):
        world.registry.files["/files/a"] = (body, {"ETag": tag})
        async with world.client.get(url, proxy=world.url) as answer:
            assert await answer.read() == body
            assert answer.headers["X-Dragonfly-Source"] == source
