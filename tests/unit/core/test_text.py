from __future__ import annotations

from dragonfly.core.text import one_line


def test_nothing_in_it_ends_the_line_or_steers_a_terminal() -> None:
    assert one_line("a\nb\r\x1b[31m\x00\u2028\udcff") == r"a\nb\r\x1b[31m\x00\u2028\udcff"


def test_letters_of_any_language_stay() -> None:
    assert one_line("größe 大小…") == "größe 大小…"
    assert one_line(7) == "7"
