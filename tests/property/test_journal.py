from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dragonfly.store import journal
from dragonfly.store.journal import Kind

RECORDS = st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=80)), max_size=8)


@given(RECORDS, st.binary(max_size=40))
def test_what_was_written_is_read_whatever_stands_behind_it(records: list[tuple[Kind, bytes]], tail: bytes) -> None:
    data = b"".join(journal.record(kind, payload) for kind, payload in records)
    found = [(kind, payload) for kind, payload, _ in journal.records(data + tail)]
    assert found[: len(records)] == records


@given(st.binary(max_size=300))
def test_any_bytes_are_a_journal_of_sound_records_or_none(data: bytes) -> None:
    end = 0
    for kind, payload, after in journal.records(data):
        assert journal.record(kind, payload) == data[end:after]
        end = after
