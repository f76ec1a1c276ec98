from __future__ import annotations

import struct

import pytest

from dragonfly.store import journal
from dragonfly.store.journal import Kind

RECORDS = [(Kind.BEGIN, b"layout"), (Kind.MARK, bytes(36)), (Kind.LEARN, b"\0\0\0\1" + bytes(64)), (Kind.SEALED, b"")]
WHOLE = b"".join(journal.record(kind, payload) for kind, payload in RECORDS)


def kinds(data: bytes) -> list[tuple[Kind, bytes]]:
    return [(kind, payload) for kind, payload, _ in journal.records(data)]


def test_what_was_written_is_read() -> None:
    assert kinds(WHOLE) == RECORDS


def test_cut_anywhere_the_records_before_the_cut_are_left() -> None:
    ends = [end for _, _, end in journal.records(WHOLE)]
    for cut in range(len(WHOLE)):
        assert kinds(WHOLE[:cut]) == RECORDS[: sum(end <= cut for end in ends)]


def test_a_flipped_bit_ends_the_journal_before_its_record() -> None:
    ends = [0] + [end for _, _, end in journal.records(WHOLE)]
    for at in range(len(WHOLE)):
        spoilt = bytearray(WHOLE)
        spoilt[at] ^= 0x10
        whole_before = sum(end <= at for end in ends) - 1
        assert kinds(bytes(spoilt)) == RECORDS[:whole_before]


def test_what_follows_the_last_record_is_not_taken_for_one() -> None:
    for tail in (b"\0", bytes(100), b"\xff" * 100, struct.pack("!IIB", 5, 0, 9) + b"hello"):
        assert kinds(WHOLE + tail) == RECORDS


def test_a_mark_of_another_length_is_refused() -> None:
    with pytest.raises(struct.error):
        journal.parse_mark(b"short")
