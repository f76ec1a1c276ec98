"""Between zones: what a neighbour of another one may be asked for."""

from __future__ import annotations

from dragonfly.swarm.commands import Fetch
from dragonfly.swarm.events import NeighbourDown, NeighbourUp, PeerHas, PieceVerified, Refused, Tick
from unit.swarm.words import script


def test_a_far_neighbour_is_asked_only_for_what_nobody_near_has() -> None:
    talk = script(4, depth=1)
    talk >> NeighbourUp("near") >> PeerHas("near", 0b0111)
    asked = talk.rest()
    talk >> NeighbourUp("far", far=True) >> PeerHas("far", 0b1111)
    (crosses,) = talk.rest()
    assert (crosses.peer, crosses.first) == ("far", 3)
    talk >> PieceVerified(3, "far")
    assert {command.peer for command in talk.rest() if hasattr(command, "peer")} <= {"near"}
    assert asked[0].peer == "near"


def test_a_far_neighbour_is_not_asked_while_the_seed_serves() -> None:
    talk = script(4, depth=1, seed_depth=1)
    talk >> NeighbourUp("s", seed=True, far=True) >> PeerHas("s", 0b1111)
    (any_piece,) = talk.rest()
    assert any_piece.peer == "s"
    talk >> NeighbourUp("far", far=True) >> PeerHas("far", 0b1111)
    talk.quiet()
    talk.after(0.9) >> Tick()
    talk.quiet()
    talk.after(0.2) >> Tick()
    assert {command.peer for command in talk.rest()} == {"far"}, "the seed has been silent for a second"


def test_a_far_seed_that_has_nothing_to_choose_is_not_asked_by_name() -> None:
    """What it has is in our zone by then, or on its way to a neighbour."""
    talk = script(4, depth=1, seed_depth=1)
    talk >> NeighbourUp("far", far=True) >> PeerHas("far", 0b1111)
    talk.rest()
    talk >> NeighbourDown("far")
    talk >> NeighbourUp("s", seed=True, far=True) >> PeerHas("s", 0b1111)
    talk.rest()
    talk >> Refused("s", 0, 0)
    talk.quiet()
    talk >> NeighbourUp("other", far=True) >> PeerHas("other", 0b1111)
    talk.quiet()


def test_where_nothing_comes_a_far_seed_is_asked_by_name() -> None:
    """It is wrong about our zone: who got the piece there lies, or gives it to nobody."""
    talk = script(4, depth=1, seed_depth=1)
    talk >> NeighbourUp("s", seed=True, far=True) >> PeerHas("s", 0b1111)
    talk.rest()
    talk >> Refused("s", 0, 0)
    talk.after(0.9) >> Refused("s", 0, 0)
    talk.quiet()
    talk.after(0.2) >> Refused("s", 0, 0)
    (asked,) = talk.rest()
    assert isinstance(asked, Fetch)


def test_without_a_seed_far_neighbours_bring_everything() -> None:
    talk = script(2, depth=2)
    talk >> NeighbourUp("far", far=True) >> PeerHas("far", 0b11)
    assert {command.first for command in talk.rest()} == {0, 1}


def test_what_a_near_seed_has_does_not_cross() -> None:
    talk = script(2, depth=1, seed_depth=1)
    talk >> NeighbourUp("s", seed=True) >> PeerHas("s", 0b11)
    talk.rest()
    talk >> NeighbourUp("far", far=True) >> PeerHas("far", 0b11)
    talk.after(1.5) >> Tick()
    talk.quiet()
