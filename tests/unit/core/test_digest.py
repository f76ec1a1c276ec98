"""Lists of pieces' digests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dragonfly.core import bitmap
from dragonfly.core.digest import NO_DIGEST, known_digests, piece_digest


@given(known=st.sets(st.integers(0, 20)), first=st.integers(0, 1000))
def test_which_pieces_of_a_list_are_known(known: set[int], first: int) -> None:
    listed = b"".join(piece_digest(b"%d" % index) if index in known else NO_DIGEST for index in range(21))
    assert known_digests(listed, first) == bitmap.from_indexes(index + first for index in known)
    assert known_digests(bytearray(listed)) == known_digests(listed)


def test_half_a_digest_is_none() -> None:
    assert known_digests(piece_digest(b"a") + piece_digest(b"b")[:31]) == 1
