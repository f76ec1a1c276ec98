from __future__ import annotations

from dragonfly.swarm.introductions import Introductions


def made(names: str) -> Introductions[str]:
    introductions: Introductions[str] = Introductions(now=10.0)
    for name in names:
        introductions.named(name, seed=False)
    return introductions


def test_who_has_nothing_meets_few_and_the_rest_with_its_first_piece() -> None:
    introductions = made("abcdef")
    assert introductions.due(links=1, have=0, now=10.0) == ["a"]
    assert introductions.due(links=2, have=0, now=10.1) == []
    assert len(introductions) == 5
    assert introductions.due(links=2, have=0b100, now=10.2) == ["b", "c", "d", "e", "f"]
    assert introductions.due(links=7, have=0b100, now=10.3) == [], "each is told once"
    assert not introductions


def test_a_link_that_is_gone_makes_room() -> None:
    introductions = made("abcdef")
    assert introductions.due(links=0, have=0, now=10.0) == ["a", "b"]
    assert introductions.due(links=1, have=0, now=10.5) == ["c"]


def test_a_seed_is_met_at_once_and_counts_as_a_link() -> None:
    introductions = made("ab")
    introductions.named("seed", seed=True)
    assert introductions.due(links=0, have=0, now=10.0) == ["seed", "a"]
    introductions.named("other seed", seed=True)
    assert introductions.due(links=9, have=0, now=10.1) == ["other seed"]


def test_nobody_waits_for_ever_for_a_first_piece() -> None:
    introductions = made("abcdef")
    assert introductions.due(links=1, have=0, now=10.0) == ["a"]
    assert introductions.due(links=2, have=0, now=12.4) == []
    assert introductions.due(links=2, have=0, now=12.5) == ["b", "c", "d", "e", "f"]


def test_who_is_discarded_is_not_met() -> None:
    introductions = made("abc")
    introductions.named("seed", seed=True)
    for name in ("b", "seed", "nobody"):
        introductions.discard(name)
    assert introductions.due(links=0, have=1, now=10.0) == ["a", "c"]


def test_who_is_named_again_is_met_once_and_can_be_discarded() -> None:
    introductions = made("aba")
    assert introductions.due(links=1, have=0, now=10.0) == ["b"]
    introductions.named("a", seed=False)
    introductions.discard("a")
    assert introductions.due(links=0, have=1, now=10.0) == []
