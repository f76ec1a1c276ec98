import asyncio
import socket

import pytest

from dragonfly.net.sniff import Speaks, sniff


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x16\x03\x01", Speaks.TLS),
        (b"CONNECT a:1 HTTP/1.1\r\n", Speaks.CONNECT),
        (b"GET / HTTP/1.1\r\n", Speaks.HTTP),
        (b"COPY / HTTP/1.1\r\n", Speaks.HTTP),
        (b"\x00", Speaks.HTTP),
        (b"", Speaks.NOTHING),
    ],
)
async def test_the_first_bytes_tell_and_stay(data: bytes, expected: Speaks) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        assert await sniff(ours, 1.0) is expected
        assert ours.recv(100) == data


async def test_a_connect_that_dribbles_in() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.sendall(b"CONN")
        asyncio.get_running_loop().call_later(0.005, theirs.sendall, b"ECT ")
        assert await sniff(ours, 1.0) is Speaks.CONNECT


async def test_silence_has_a_deadline() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with pytest.raises(TimeoutError):
            await sniff(ours, 0.01)
