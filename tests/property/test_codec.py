"""The control protocol: what is said is heard as it was said, and anything else is a ProtocolError."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core.messages import (
    BytesBy,
    Digests,
    Finished,
    Forget,
    Hello,
    Holding,
    HostInfo,
    Join,
    Leave,
    MoreNeighbours,
    Neighbours,
    PeerAddress,
    Progress,
    PullDone,
    TaskFailed,
    TaskInfo,
    TaskProgress,
    Trouble,
    TroubleKind,
    Welcome,
)
from dragonfly.core.messages import Pull as PullOrder
from dragonfly.core.task import TaskKey, TaskSpec
from dragonfly.wire.codec import ProtocolError, encode, from_daemon, from_supernode

TEXT = st.text(max_size=10)
KEY = TEXT.map(TaskKey)
COUNT = st.integers(0, 2**63 - 1)
SECONDS = st.floats(0, 1e9)
HEADERS = st.dictionaries(TEXT, TEXT, max_size=3)
BYTES_BY = st.builds(BytesBy, source=COUNT, seed=COUNT, peers=COUNT, cache=COUNT)
HOST_ID = st.text("".join(map(chr, range(0x21, 0x7F))).replace("#", ""), min_size=1, max_size=128)
SPEC = st.builds(TaskSpec, url=TEXT, digest=TEXT, headers=HEADERS, tag=TEXT, trust=TEXT)
HOST = st.builds(HostInfo, id=HOST_ID, address=TEXT, peer_port=st.integers(0, 65535), zone=TEXT)
PEER = st.builds(PeerAddress, TEXT, TEXT, st.integers(0, 65535), st.booleans())
SEED_WORDS = [
    st.builds(
        TaskInfo, key=KEY, length=COUNT, piece_size=COUNT, digests=st.binary(max_size=64), sealed=st.booleans(),
        ticket=TEXT, headers=HEADERS, version=TEXT, peers=COUNT,
    ),
    st.builds(Digests, key=KEY, first=COUNT, digests=st.binary(max_size=64), sealed=st.booleans()),
    st.builds(TaskFailed, key=KEY, reason=TEXT, status=st.none() | st.integers(100, 599), challenge=TEXT,
              final=st.booleans(), retry_after=SECONDS),
]  # fmt: skip
DAEMON_WORDS = st.one_of(
    *SEED_WORDS,
    st.builds(Hello, host=HOST, token=TEXT),
    st.builds(Join, spec=SPEC, pieces=COUNT, piece_size=COUNT),
    st.builds(Progress, tasks=st.lists(
        st.builds(TaskProgress, key=KEY, pieces=COUNT, received=BYTES_BY, uploaded=COUNT), max_size=3).map(tuple)),
    st.builds(Trouble, key=KEY, peer=TEXT, kind=st.sampled_from(TroubleKind)),
    st.builds(MoreNeighbours, key=KEY, have=st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(Finished, key=KEY, seconds=SECONDS, received=BYTES_BY, uploaded=COUNT, error=TEXT, fallback=TEXT,
              bound=TEXT, efficiency=st.floats(0, 1), node_rate=st.floats(0, 1e12)),
    st.builds(Leave, key=KEY),
    st.builds(Holding, keys=st.lists(KEY, max_size=3).map(tuple), piece_size=COUNT),
    st.builds(PullDone, job=TEXT, key=KEY, error=TEXT),
)  # fmt: skip
SUPERNODE_WORDS = st.one_of(
    *SEED_WORDS,
    st.builds(Welcome, report_every_s=SECONDS, supernodes=st.lists(TEXT, max_size=3).map(tuple), address=TEXT),
    st.builds(
        Neighbours, key=KEY, add=st.lists(PEER, max_size=3).map(tuple), drop=st.lists(TEXT, max_size=3).map(tuple)
    ),
    st.builds(Forget, key=KEY),
    st.builds(PullOrder, job=TEXT, spec=SPEC),
)


@given(DAEMON_WORDS)
def test_what_a_daemon_says_is_heard(message: object) -> None:
    assert from_daemon(encode(message)) == message  # type: ignore[arg-type]


@given(SUPERNODE_WORDS)
def test_what_a_supernode_says_is_heard(message: object) -> None:
    assert from_supernode(encode(message)) == message  # type: ignore[arg-type]


@given(SUPERNODE_WORDS, st.dictionaries(TEXT.filter(lambda name: name.startswith("x")), TEXT, max_size=2))
def test_fields_of_a_newer_version_are_skipped(message: object, more: dict[str, str]) -> None:
    data = msgspec.msgpack.encode(msgspec.msgpack.decode(encode(message)) | more)  # type: ignore[arg-type]
    assert from_supernode(data) == message


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for decode in (from_daemon, from_supernode):
        with contextlib.suppress(ProtocolError):
            decode(data)


@given(DAEMON_WORDS, st.data())
def test_a_message_with_a_broken_byte_is_a_message_or_a_protocol_error(message: object, data: st.DataObject) -> None:
    spoilt = bytearray(encode(message))  # type: ignore[arg-type]
    spoilt[data.draw(st.integers(0, len(spoilt) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ProtocolError):
        from_daemon(bytes(spoilt))


def test_deep_nesting_is_a_protocol_error() -> None:
    for data in (b"\x91" * 100_000 + b"\xc0", b"\x81\xa1x" * 50_000 + b"\xc0"):
        with pytest.raises(ProtocolError):
            from_daemon(data)
