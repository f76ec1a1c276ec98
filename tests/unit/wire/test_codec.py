from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core.messages import Digests, Hello, HostInfo, Join, Neighbours, PeerAddress
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.wire.codec import ProtocolError, encode, from_daemon, from_supernode


def test_messages_arrive_as_they_were_sent() -> None:
    hello = Hello(host=HostInfo(id="a", address="10.0.0.1", peer_port=65002), token="t")
    join = Join(spec=TaskSpec(url="http://h/f", headers={"A": "b"}), pieces=3)
    neighbours = Neighbours(key=TaskKey("url-1"), add=(PeerAddress("b", "10.0.0.2", 1, True),), drop=("c",))
    digests = Digests(key=TaskKey("url-1"), first=4, digests=bytes(64))
    assert [from_daemon(encode(message)) for message in (hello, join)] == [hello, join]
    assert [from_supernode(encode(message)) for message in (neighbours, digests)] == [neighbours, digests]


def test_each_side_takes_only_its_own_messages() -> None:
    with pytest.raises(ProtocolError):
        from_supernode(encode(Join(spec=TaskSpec(url="http://h/f"))))


@given(st.binary(max_size=200))
def test_noise_is_a_protocol_error(data: bytes) -> None:
    for read in (from_daemon, from_supernode):
        try:
            read(data)
        except ProtocolError:
            continue


@given(st.integers(0, 60))
def test_a_cut_message_is_a_protocol_error(length: int) -> None:
    data = encode(Join(spec=TaskSpec(url="http://host/file"), pieces=3))
    with pytest.raises(ProtocolError):
        from_daemon(data[: min(length, len(data) - 1)])
