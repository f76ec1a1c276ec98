"""One port for TLS, CONNECT and HTTP, as raw bytes see it."""

import asyncio
import os
import socket
from collections.abc import Callable

import aiohttp
import pytest

from dragonfly.daemon.settings import DaemonSettings, Hijack, Permit, Registry, Rule
from unit.daemon.world import World, eventually

BLOB = os.urandom(2_000_000)


async def talk(world: World, data: bytes) -> bytes:
    """Say it on a connection of its own, and read to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_own_pages(world: World) -> None:
    await world.start()
    for page, text in (("/healthz", "ok\n"), ("/metrics", "dragonfly_test 1\n")):
        async with world.client.get(world.url + page) as answer:
            assert (answer.status, await answer.text()) == (200, text)
    async with world.client.get(world.url + "/nothing") as answer:
        assert answer.status == 404
        assert "p2p.test" in await answer.text()


async def test_a_p2p_domain_by_tls_with_a_certificate_of_our_ca(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    async with world.client.get(
        f"https://127.0.0.1:{world.port}/v2/x/blobs/{digest}",
        headers={"Host": "p2p.test"},
        ssl=world.trusting(),
        server_hostname="p2p.test",
    ) as answer:
        assert await answer.read() == BLOB
        assert answer.headers["X-Dragonfly-Source"] == "origin"
    async with world.client.post(
        f"https://127.0.0.1:{world.port}/v2/x/blobs/uploads/",
        headers={"Host": "p2p.test"},
        ssl=world.trusting(),
        server_hostname="p2p.test",
        allow_redirects=False,
    ) as answer:
        assert answer.headers["Location"].startswith("https://p2p.test/v2/x/")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_our_own_address_by_tls(world: World, name: str) -> None:
    await world.start()
    async with world.client.get(
        f"https://127.0.0.1:{world.port}/healthz", ssl=world.trusting(), server_hostname=name
    ) as answer:
        assert answer.status == 200


async def test_a_strangers_name_gets_no_certificate(world: World) -> None:
    await world.start()
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await world.client.get(f"https://127.0.0.1:{world.port}/", ssl=world.trusting(), server_hostname="bank.example")
    assert not list((world.daemon.ca.cert_path.parent / "leaves").glob("bank*"))


async def test_a_further_tls_port(world: World) -> None:
    await world.start(tls_listen="127.0.0.1:0", registries=(Registry(host="reg.test"),))
    _, port = world.daemon.front.addresses[1]
    async with world.client.get(
        f"https://127.0.0.1:{port}/healthz", ssl=world.trusting(), server_hostname="reg.test"
    ) as answer:
        assert answer.status == 200
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_http_1_0_clients_get_a_length_and_an_end(world: World) -> None:
    await world.start()
    digest = world.registry.add(BLOB)
    answer = await talk(world, f"GET /v2/x/blobs/{digest} HTTP/1.0\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert f"Content-Length: {len(BLOB)}".encode() in head
    assert b"chunked" not in head
    assert body == BLOB


async def test_a_connection_is_kept_for_many_requests(world: World) -> None:
    await world.start()
    digest = world.registry.add(b"0123456789")
    get = f"GET /v2/x/blobs/{digest} HTTP/1.1\r\nHost: a\r\n".encode()
    answer = await talk(world, get + b"\r\n" + get + b"Range: bytes=3-4\r\n\r\n" + get + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 3
    assert answer.endswith(b"0123456789")


async def test_a_first_byte_at_a_time(world: World) -> None:
    await world.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    for byte in b"CONNECT 127.0.0.1:1 HTTP/1.0\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.001)
    assert (await reader.read()).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"CONNECT nonsense HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n bad\r\n\r\n", b"400"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"GET http://[bad/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"400"),
    ],
)
async def test_nonsense_is_refused(world: World, data: bytes, status: bytes) -> None:
    await world.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    writer.write(data)
    assert (await reader.readline()).split()[1] == status
    writer.close()


async def test_a_silent_client_is_dropped(world: World) -> None:
    await world.start(head_timeout=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def echo(handler: Callable[[bytes], bytes]) -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()  # to the client's end: half-close must come through
        writer.write(handler(data))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_connect_is_tunnelled_untouched_and_half_closed_right(world: World) -> None:
    await world.start()
    server, port = await echo(lambda data: data[::-1])
    async with server:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        # What follows the head at once must not be lost.
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode() + BLOB)
        writer.write_eof()
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert await reader.read() == BLOB[::-1]
        writer.close()
    await eventually(lambda: any(e.name == "tunnel.ended" for e in world.events))
    ended = next(e for e in world.events if e.name == "tunnel.ended")
    assert ended.fields == {"host": f"127.0.0.1:{port}", "sent": len(BLOB), "received": len(BLOB)}


async def test_connect_outside_the_white_list_is_refused(world: World) -> None:
    await world.start(permit=(Permit(ports=(443,)),))
    answer = await talk(world, b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"127.0.0.1:22" in answer


async def test_a_hijacked_host_is_answered_by_its_rules(world: World) -> None:
    await world.start()
    server, secure = await tls_registry(world)
    async with server:
        world.daemon.reload(
            DaemonSettings(
                hijack=(Hijack(regex=r"^reg\.test:8443$", insecure=True),),
                rules=(
                    Rule(regex="blobs/sha256.*", redirect=secure),
                    Rule(regex="reg.test", redirect=secure, direct=True),
                ),
            )
        )
        digest = world.registry.add(BLOB)
        context = world.trusting()
        for path, source in ((f"/v2/x/blobs/{digest}", "origin"), ("/v2/", "pass")):
            async with world.client.get(f"https://reg.test:8443{path}", proxy=world.url, ssl=context) as answer:
                assert answer.status == 200
                assert answer.headers["X-Dragonfly-Source"] == source
                if source == "origin":
                    assert await answer.read() == BLOB
    await world.client.close()
    await eventually(lambda: len(world.daemon.front._servers) == 2)


async def tls_registry(world: World) -> tuple[asyncio.Server, str]:
    """The stand-in registry behind TLS, with a certificate that nobody trusts."""
    context = world.daemon.ca.context("elsewhere.test")

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = int(world.registry.origin.rpartition(":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def pump(one: asyncio.StreamReader, other: asyncio.StreamWriter) -> None:
            while data := await one.read(65536):
                other.write(data)
            other.close()

        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(pipe, "127.0.0.1", 0, ssl=context)
    return server, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_slow_tls_client_holds_no_memory(world: World) -> None:
    """Few bytes wait in the daemon, however large the blob and slow the client."""
    await world.start()
    digest = world.registry.add(BLOB * 10)
    raw = socket.create_connection(("127.0.0.1", world.port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    raw.setblocking(False)
    context = world.trusting()
    reader, writer = await asyncio.open_connection(sock=raw, ssl=context, server_hostname="p2p.test", limit=1024)
    writer.write(f"GET /v2/x/blobs/{digest} HTTP/1.1\r\nHost: p2p.test\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.1)
    transports = [handler.transport for server in world.daemon.front._servers for handler in server.connections]
    waiting = [transport.get_write_buffer_size() for transport in transports if transport is not None]
    assert max(waiting) < 1_000_000
    writer.close()
