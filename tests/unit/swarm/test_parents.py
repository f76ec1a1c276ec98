"""What is known of each giver, and how many of them have each piece."""

from __future__ import annotations

from dragonfly.swarm.parents import Parents


def test_copies_count_neighbours_and_not_seeds() -> None:
    parents = Parents(4)
    a, b = (parents.add(name, False, False, 0.0) for name in "ab")
    seed = parents.add("seed", True, False, 0.0)
    assert parents.gained(a, 0b0011) == 0b0011
    assert parents.gained(b, 0b0110) == 0b0110
    assert parents.gained(seed, 0b1111) == 0b1111
    assert list(parents.copies) == [1, 2, 1, 0]
    assert parents.gained(a, 0b0111) == 0b0100, "only news are told"
    assert list(parents.copies) == [1, 2, 2, 0]


def test_whoever_leaves_takes_its_copies_along() -> None:
    parents = Parents(3)
    parents.gained(parents.add("a", False, False, 0.0), 0b111)
    parents.gained(parents.add("b", False, False, 0.0), 0b010)
    assert parents.remove("a") is not None
    assert parents.remove("a") is None
    assert list(parents.copies) == [0, 1, 0]
    assert ("a" in parents, "b" in parents, len(parents)) == (False, True, 1)


def test_who_comes_again_has_nothing_yet() -> None:
    parents = Parents(2)
    old = parents.add("a", False, False, 0.0)
    old.dry = True
    parents.gained(old, 0b11)
    new = parents.add("a", False, False, 9.0)
    assert (new.has, new.dry, new.heard_at) == (0, False, 9.0)
    assert list(parents.copies) == [0, 0]
    assert parents.near == 0
    assert list(parents) == [new]
    assert parents.get("a") is new
    assert parents.get("b") is None


def test_what_is_in_another_zone_is_not_near() -> None:
    parents = Parents(4)
    parents.gained(parents.add("near", False, False, 0.0), 0b0001)
    parents.gained(parents.add("far", False, True, 0.0), 0b0011)
    parents.gained(parents.add("far seed", True, True, 0.0), 0b1111)
    assert list(parents.copies) == [1, 0, 0, 0]
    assert (parents.near, parents.within()) == (0b0001, 0b0001)
    assert parents.any_has(0b0010)
    assert not parents.any_has(0b1100), "a seed's do not count"
    parents.gained(parents.add("seed", True, False, 0.0), 0b0111)
    assert (parents.near, parents.within()) == (0b0001, 0b0111)
    parents.remove("far")
    assert list(parents.copies) == [1, 0, 0, 0]


def test_its_repr_is_a_status_line() -> None:
    parents = Parents(4)
    parent = parents.add("a-host-with-a-long-name", True, False, 0.0)
    parents.gained(parent, 0b11)
    assert repr(parent) == "<Parent a-host-with- seed ok has 2>"
    parent.dry = True
    assert "dry" in repr(parent)
    parent.suspect = True
    assert "suspect" in repr(parent)
