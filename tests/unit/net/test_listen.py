import asyncio
import socket

import pytest

from dragonfly.errors import UsageError
from dragonfly.net.listen import accept_forever, format_address, open_listeners, parse_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("", 80)),
        ("host", ("host", 8002)),
        ("::1", ("::1", 8002)),
        ("[::1]", ("::1", 8002)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text, 8002) == expected


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:70000", ":"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        parse_address(text)


def test_an_address_is_written_as_it_is_read() -> None:
    for address in (("127.0.0.1", 1), ("::1", 2)):
        assert parse_address(format_address(*address)) == address


def test_a_taken_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(UsageError, match="another program listens there"):
            open_listeners(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UsageError, match="cannot listen"):
            open_listeners("no.such.host.invalid:0")


async def test_connections_are_taken_until_cancelled() -> None:
    (listener,) = open_listeners("127.0.0.1:0")
    taken: asyncio.Queue[socket.socket] = asyncio.Queue()
    task = asyncio.create_task(accept_forever(listener, taken.put_nowait))
    with socket.create_connection(listener.getsockname()):
        sock = await taken.get()
        assert sock.getblocking() is False
        sock.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    listener.close()
