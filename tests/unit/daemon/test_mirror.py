import gzip
import hashlib
import json
import os
from collections.abc import AsyncIterator

import aiohttp
import pytest
from yarl import URL

from dragonfly.daemon.mirror import blob_digest, split_namespace
from dragonfly.daemon.settings import DaemonSettings, Registry
from dragonfly.errors import CapacityError
from unit.daemon.world import World, basic, eventually

BLOB = os.urandom(700_000)


async def test_a_blob_comes_by_the_engine_with_a_registrys_headers(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    async with world.client.get(f"{world.url}/v2/library/x/blobs/{digest}") as answer:
        assert answer.status == 200
        assert await answer.read() == BLOB
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Dragonfly-Task"] == digest.replace(":", "-")
    assert answer.headers["X-Dragonfly-Source"] == "origin"
    async with world.client.get(f"{world.url}/v2/library/x/blobs/{digest}") as again:
        assert await again.read() == BLOB
    assert again.headers["X-Dragonfly-Source"] == "cache"
    assert [(e.fields["source"], e.fields["bytes"]) for e in world.events if e.name == "request.served"] == [
        ("origin", len(BLOB)),
        ("cache", len(BLOB)),
    ]


async def test_the_first_bytes_leave_before_the_last_have_come(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    world.engine.hold_at = 300_000
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}") as answer:
        assert await answer.content.readexactly(300_000) == BLOB[:300_000]
        world.engine.release.set()
        assert await answer.content.read() == BLOB[300_000:]


async def test_head_tells_the_same_without_a_body(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    async with world.client.head(f"{world.url}/v2/x/blobs/{digest}") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(BLOB))
        assert answer.headers["Docker-Content-Digest"] == digest
        assert await answer.read() == b""
    assert not world.engine.opened


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=1000-", 1000, len(BLOB)), ("bytes=-500", len(BLOB) - 500, len(BLOB))],
)
async def test_a_range_is_served_from_the_engine(world: World, asked: str, start: int, end: int) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}", headers={"Range": asked}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(BLOB)}"
        assert await answer.read() == BLOB[start:end]


async def test_several_ranges_come_as_multipart(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    async with world.client.get(
        f"{world.url}/v2/x/blobs/{digest}", headers={"Range": "bytes=0-9,100-199,-5"}
    ) as answer:
        assert answer.status == 206
        reader = aiohttp.MultipartReader.from_response(answer)
        parts = []
        while (part := await reader.next()) is not None:
            assert isinstance(part, aiohttp.BodyPartReader)
            parts.append((part.headers["Content-Range"], bytes(await part.read())))
    assert parts == [
        (f"bytes 0-9/{len(BLOB)}", BLOB[:10]),
        (f"bytes 100-199/{len(BLOB)}", BLOB[100:200]),
        (f"bytes {len(BLOB) - 5}-{len(BLOB) - 1}/{len(BLOB)}", BLOB[-5:]),
    ]


async def test_a_range_without_a_byte_is_416(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}", headers={"Range": "bytes=800000-"}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(BLOB)}"


async def test_if_none_match_spares_the_bytes(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    async with world.client.get(
        f"{world.url}/v2/x/blobs/{digest}", headers={"If-None-Match": f'"other", W/"{digest}"'}
    ) as answer:
        assert answer.status == 304
        assert answer.headers["ETag"] == f'"{digest}"'


async def test_if_range_of_another_content_gets_the_whole(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    headers = {"Range": "bytes=0-9", "If-Range": '"other"'}
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}", headers=headers) as answer:
        assert answer.status == 200
    headers["If-Range"] = f'"{digest}"'
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}", headers=headers) as answer:
        assert answer.status == 206


async def test_an_empty_blob_is_a_blob(world: World) -> None:
    await world.start()
    digest = world.registry.add(b"")
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_what_is_no_blob_passes_through_as_it_is(world: World) -> None:
    await world.start()
    world.registry.manifests["latest"] = b'{"schemaVersion": 2}\n'
    world.registry.answer_headers = {"X-Odd": "kept", "Docker-Content-Digest": "sha256:odd"}
    async with world.client.get(
        f"{world.url}/v2/x/manifests/latest", headers={"Accept": "application/a, application/b"}
    ) as answer:
        assert await answer.read() == b'{"schemaVersion": 2}\n'
        assert answer.headers["X-Odd"] == "kept"
        assert answer.headers["Docker-Content-Digest"] == "sha256:odd"
        assert answer.headers["X-Dragonfly-Source"] == "pass"
    assert world.registry.asked[-1][2]["Accept"] == "application/a, application/b"
    assert not world.engine.opened


async def test_the_swarm_is_told_which_layer_of_its_image_a_blob_is(world: World) -> None:
    await world.start()
    config, low, high = (world.registry.add(data) for data in (b"{}", b"low", b"high"))
    layers = [{"digest": digest} for digest in (low, high, low)]
    body = json.dumps({"config": {"digest": config}, "layers": layers}).encode()
    world.registry.manifests |= {"1": body, "odd": b"[not a manifest"}
    for tag in ("1", "odd"):
        async with world.client.get(f"{world.url}/v2/x/manifests/{tag}") as answer:
            assert await answer.read() == world.registry.manifests[tag]
    for digest in (high, config, low, world.registry.add(b"of no image")):
        async with world.client.get(f"{world.url}/v2/x/blobs/{digest}") as answer:
            await answer.read()
    image = hashlib.sha256(body).hexdigest()
    assert [(spec.image, spec.layer) for spec in world.engine.opened] == [(image, 2), ("", 0), (image, 1), ("", 0)]


async def test_content_encoding_is_left_alone(world: World) -> None:
    await world.start()
    packed = gzip.compress(b"manifest")
    world.registry.manifests["zipped"] = packed
    world.registry.answer_headers = {"Content-Encoding": "gzip"}
    async with world.client.get(f"{world.url}/v2/x/manifests/zipped") as answer:
        assert await answer.read() == packed
        assert answer.headers["Content-Encoding"] == "gzip"


async def test_very_large_headers_pass_both_ways(world: World) -> None:
    await world.start()
    world.registry.manifests["latest"] = b"{}"
    world.registry.answer_headers = {"X-Large": "b" * 100_000}
    async with world.client.get(
        f"{world.url}/v2/x/manifests/latest", headers={"Authorization": "Bearer " + "a" * 100_000}
    ) as answer:
        assert len(answer.headers["X-Large"]) == 100_000
    assert len(world.registry.asked[-1][2]["Authorization"]) == 100_007


async def test_links_and_upload_locations_come_back_to_us(world: World) -> None:
    await world.start()
    async with world.client.get(f"{world.url}/v2/x/tags/list?n=2") as answer:
        assert answer.headers["Link"] == f'<{world.url}/v2/x/tags/list?last=b&n=2>; rel="next"'
    async with world.client.post(f"{world.url}/v2/x/blobs/uploads/", allow_redirects=False) as answer:
        assert answer.headers["Location"] == f"{world.url}/v2/x/blobs/uploads/u1?_state=x"


async def test_containerds_namespace_is_understood_and_not_passed_on(world: World) -> None:
    await world.start(registry="http://127.0.0.1:9")
    namespace = world.registry.origin.removeprefix("http://")
    async with world.client.get(f"{world.url}/v2/x/tags/list?n=2&ns={namespace}") as answer:
        assert answer.status == 200
        assert answer.headers["Link"] == f'<{world.url}/v2/x/tags/list?last=b&n=2&ns={namespace}>; rel="next"'
    assert world.registry.asked[-1][1] == "/v2/x/tags/list?n=2"


async def test_a_push_is_streamed_through(world: World) -> None:
    await world.start()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield BLOB[:100_000]

    url = URL(f"{world.url}/v2/x/blobs/uploads/u1?_state=x&digest=sha256%3A1", encoded=True)
    async with world.client.put(url, data=body(), expect100=True) as answer:
        assert answer.status == 201
        assert answer.headers["Location"] == "/v2/x/blobs/sha256:1"
    assert world.registry.pushed["/v2/x/blobs/uploads/u1?_state=x&digest=sha256%3A1"] == BLOB[:100_000] * 5


async def test_the_registrys_errors_pass_through_with_their_bodies(world: World) -> None:
    await world.start()
    async with world.client.get(f"{world.url}/v2/x/blobs/sha256:{'0' * 64}") as answer:
        assert (answer.status, await answer.json()) == (404, {"errors": [{"code": "BLOB_UNKNOWN"}]})
    world.registry.failing = 500
    async with world.client.get(f"{world.url}/v2/x/manifests/latest") as answer:
        assert (answer.status, await answer.text()) == (500, "out of order")


async def test_no_registry_is_a_clear_502(world: World) -> None:
    await world.start(map={"gone.test": "http://127.0.0.1:9"})
    async with world.client.get(f"{world.url}/v2/x/manifests/latest", headers={"Host": "gone.test"}) as answer:
        assert answer.status == 502
        message = (await answer.json())["errors"][0]["message"]
    assert "can't be reached: http://127.0.0.1:9/v2/x/manifests/latest" in message


async def test_a_pull_that_fails_midway_never_ends_cleanly(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    world.engine.break_at = 300_000
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    failed = [e for e in world.events if e.name == "request.failed"]
    assert failed[0].fields["bytes"] == 0 or failed[0].fields["bytes"] == 300_000
    assert world.engine.closed == 1


async def test_a_client_that_goes_away_lets_go_of_its_pull(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    world.engine.hold_at = 300_000
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}") as answer:
        await answer.content.readexactly(1000)
        answer.close()
    await eventually(lambda: world.engine.closed == 1)


async def test_a_full_disk_does_not_stop_a_client(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    world.engine.refuse = CapacityError("no room")
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}") as answer:
        assert await answer.read() == BLOB
        assert answer.headers["X-Dragonfly-Source"] == "pass"


async def test_a_redirect_to_an_object_store_is_followed_without_credentials(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    world.registry.redirect = True
    world.registry.users = {"u": ("p", {"x"})}
    world.engine.refuse = CapacityError("the stand-in can't follow signed redirects")
    async with world.client.get(f"{world.url}/v2/x/blobs/{digest}", headers=basic("u", "p")) as answer:
        assert answer.status == 200
        assert await answer.read() == BLOB
    stored = [headers for _, path, headers in world.registry.asked if path.startswith("storage:")]
    assert stored
    assert all("Authorization" not in headers for headers in stored)


async def test_mirrors_are_tried_in_order_and_the_registry_last(world: World) -> None:
    await world.start()
    broken = await world.listen(lambda request: world.registry.serve_storage(request))
    host = world.registry.origin.removeprefix("http://")
    settings = DaemonSettings(
        map={"p2p.test": world.registry.origin},
        registries=(Registry(host=host, upstream=world.registry.origin, mirrors=("http://127.0.0.1:9", broken)),),
    )
    assert world.daemon.reload(settings) == ["listen"]
    world.registry.manifests["latest"] = b"{}"
    digest = world.registry.add(BLOB)
    for path, expected in (("manifests/latest", b"{}"), (f"blobs/{digest}", BLOB)):
        async with world.client.get(f"{world.url}/v2/x/{path}", headers={"Host": "p2p.test"}) as answer:
            assert await answer.read() == expected
    assert world.registry.asked[0][1] == "storage:/v2/x/manifests/latest"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (f"/v2/a/b/c/blobs/sha256:{'0' * 64}", True),
        (f"/v2/a/blobs/sha256:{'0' * 64}?x=y", True),
        (f"/v2/a/blobs/sha256%3A{'0' * 64}", True),
        (f"/v2/a/blobs/sha512:{'0' * 128}", True),
        (f"/v2/a/blobs/sha256:{'0' * 63}", False),
        (f"/v2/a/blobs/md5:{'0' * 32}", False),
        ("/v2/a/blobs/uploads/1", False),
        (f"/v2/blobs/sha256:{'0' * 64}", False),
    ],
)
def test_which_paths_name_a_blob(path: str, found: bool) -> None:
    assert (blob_digest(path) is not None) is found


def test_only_the_namespace_is_taken_from_a_query() -> None:
    assert split_namespace("/v2/a?x=%2F&ns=docker.io&y") == ("/v2/a?x=%2F&y", "docker.io")
    assert split_namespace("/v2/a?ns=h%3A5000") == ("/v2/a", "h:5000")
    assert split_namespace("/v2/a?") == ("/v2/a?", "")
