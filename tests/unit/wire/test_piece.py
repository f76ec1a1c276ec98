from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core import bitmap
from dragonfly.wire import piece as wire
from dragonfly.wire.codec import ProtocolError
from dragonfly.wire.piece import HEADER, Kind


@given(st.sets(st.integers(0, 500)))
def test_announcements_survive_the_wire(chosen: set[int]) -> None:
    bits = bitmap.from_indexes(chosen)
    frame = wire.have_frame(bits)
    header = wire.parse_header(frame)
    assert (header.kind, header.length) == (Kind.HAVE, len(frame) - HEADER)
    assert wire.parse_runs(frame[HEADER:], 501) == bits
    assert wire.parse_header(wire.has_frame(bits)).kind is Kind.HAS


def test_headers_say_what_was_meant() -> None:
    frame = wire.parse_header(wire.data_header(7, 2, 4096, chosen=True))
    assert frame == (Kind.DATA, wire.CHOSEN, 7, 2, 4096)
    frame = wire.parse_header(wire.plain_frame(Kind.REQUEST, 1, 3))
    assert (frame.kind, frame.first, frame.run, frame.length) == (Kind.REQUEST, 1, 3, 0)


@given(st.binary(min_size=HEADER, max_size=HEADER))
def test_any_header_is_read_or_refused(data: bytes) -> None:
    try:
        frame = wire.parse_header(data)
    except ProtocolError:
        return
    assert frame.length <= wire.MAX_DATA


@given(st.binary(max_size=64), st.integers(1, 1000))
def test_any_announcement_is_read_or_refused(payload: bytes, count: int) -> None:
    try:
        pieces = wire.parse_runs(payload, count)
    except ProtocolError:
        return
    assert pieces < 1 << count


def test_a_frame_beyond_the_limits_is_refused() -> None:
    header = bytearray(wire.plain_frame(Kind.HAVE, 0, 0))
    header[12:16] = (wire.MAX_CONTROL + 1).to_bytes(4, "big")
    with pytest.raises(ProtocolError, match="too long"):
        wire.parse_header(header)


def test_digests_are_counted_in_their_header() -> None:
    frame = wire.digests_frame(5, b"a" * 32 + b"b" * 32)
    head = wire.parse_header(frame)
    assert (head.kind, head.first, head.run, head.length) == (wire.Kind.DIGESTS, 5, 2, 64)
    assert frame[wire.HEADER :] == b"a" * 32 + b"b" * 32
