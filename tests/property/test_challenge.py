from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dragonfly.source.challenge import parse_challenges

TOKENS = st.text("abcDEF0-", min_size=1, max_size=6)


@given(st.text(alphabet='aB1 ,="\\\t', max_size=60))
def test_any_text_is_read_to_its_end(header: str) -> None:
    parse_challenges(header)


@given(st.lists(st.tuples(TOKENS, st.dictionaries(TOKENS.map(str.lower), st.text('ab ",=\\', max_size=8), min_size=1))))
def test_what_is_well_written_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )
    assert [(c.scheme, c.parameters) for c in parse_challenges(header)] == [
        (scheme.lower(), parameters) for scheme, parameters in challenges
    ]
