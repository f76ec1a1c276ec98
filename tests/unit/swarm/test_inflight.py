"""A piece is had, under way or free; only the legal moves lead from one to the other."""

from __future__ import annotations

from dragonfly.swarm.inflight import SOURCE, Inflight


def test_only_what_is_missing_and_can_be_verified_is_free() -> None:
    book = Inflight(4, have=0b0001, known=0b0011)
    assert (book.have, book.missing, book.free) == (0b0001, 0b1110, 0b0010)
    book.learn(0b0111)
    assert book.free == 0b0110


def test_asking_takes_it_out_of_the_free_ones() -> None:
    book = Inflight(8, have=0b1, known=0xFF)
    book.ask("a", 0, 3, now=5.0)
    assert book.free == 0b11111000
    assert book.under_way == 0b00000110, "what is had already is not asked for"
    assert book.owed("a") == 2
    assert book.asked_at("a", 1, -1.0) == 5.0
    assert book.asked_at("a", 0, -1.0) == -1.0
    assert book.asked_at("nobody", 1, -1.0) == -1.0


def test_a_second_owner_is_told_when_the_first_was_quicker() -> None:
    book = Inflight(2, known=0b11)
    book.ask("a", 0, 1, 1.0)
    book.ask("b", 0, 1, 2.0)
    assert book.verified(0) == [(0, "a"), (0, "b")]
    assert (book.have, book.missing) == (0b01, 0b10)
    assert book.owed("a") == book.owed("b") == 0
    assert book.verified(0) == [], "a second copy is no news"


def test_it_is_free_again_when_the_last_owner_gave_up() -> None:
    book = Inflight(2, known=0b11)
    book.ask("a", 0, 1, 1.0)
    book.ask(SOURCE, 0, 1, 1.0)
    book.release("a", 0)
    assert book.free == 0b10
    book.release("a", 0)  # once more changes nothing
    assert book.free == 0b10
    book.release(SOURCE, 0)
    assert book.free == 0b11
    assert book.under_way == 0


def test_one_that_can_not_be_verified_yet_is_free_when_its_digest_comes() -> None:
    book = Inflight(2)
    book.ask("seed", 0, 1, 1.0)  # the seed chose it before its digest was known
    book.learn(0b01)
    assert book.free == 0, "it is under way"
    book.release("seed", 0)
    assert book.free == 0b01
    book.ask("seed", 1, 1, 1.0)
    book.release("seed", 1)
    assert book.free == 0b01, "and this one still can't be verified"


def test_whoever_leaves_owes_nothing_more() -> None:
    book = Inflight(8, known=0xFF)
    book.ask("a", 0, 3, 1.0)
    book.ask("b", 2, 2, 1.0)
    assert sorted(book.release_all("a")) == [0, 1, 2]
    assert book.free == 0b11110011
    assert book.owed("a") == 0
    assert book.release_all("a") == []
    book.release("a", 2)
    assert book.owners[2].keys() == {"b"}


def test_what_is_had_stays_had() -> None:
    book = Inflight(2, known=0b11)
    book.ask("a", 0, 2, 1.0)
    book.verified(0)
    book.release("a", 0)
    book.release_all("a")
    book.ask("b", 0, 2, 2.0)
    assert book.have == 0b01
    assert book.under_way == 0b10
