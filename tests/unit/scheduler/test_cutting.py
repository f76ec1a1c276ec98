from __future__ import annotations

import pytest

from dragonfly.core import messages as msg
from dragonfly.core.pieces import MIN_PIECE, piece_size_for
from dragonfly.core.task import TaskSpec
from dragonfly.scheduler import events as ev
from dragonfly.scheduler.settings import SchedulerSettings
from unit.scheduler.words import BLOB, DIGESTS, Talk, a_scheduler, described

LENGTH = 1 << 27
MB = 1_000_000
FAST = 500 * MB


@pytest.fixture
def talk() -> Talk:
    return Talk()


def finished(rate: float, moved: int = LENGTH, cached: int = 0, spec: TaskSpec = BLOB) -> msg.Finished:
    received = msg.BytesBy(peers=moved, cache=cached)
    return msg.Finished(key=spec.key, seconds=1.0, received=received, node_rate=rate)


def cut(talk: Talk, length: int = LENGTH) -> int:
    """How a new task is cut now."""
    return talk.mind.piece_size(TaskSpec(url="http://o/new").key, length)


def test_what_finished_pulls_say_makes_the_next_pieces_larger(talk: Talk) -> None:
    talk.seed_knows().hello("a", "b", "c").pulls("a").pulls("b").pulls("c")
    assert cut(talk) == 64 << 10
    talk.says("a", finished(FAST))
    assert cut(talk) == 512 << 10
    talk.says("b", finished(125 * MB)).says("c", finished(125 * MB))
    assert cut(talk) == 256 << 10, "most are as slow as that"
    for _ in range(64):
        talk.says("a", finished(FAST))
    assert cut(talk) == 512 << 10, "it was long ago"


def test_short_pulls_and_the_seed_say_nothing_of_the_nodes_rate(talk: Talk) -> None:
    talk.seed_knows().hello("a").pulls("a")
    talk.says("a", finished(FAST, moved=MB))
    talk.says("a", finished(FAST, moved=0, cached=LENGTH))
    talk.says("a", finished(0.0))
    talk.says("seed", finished(FAST))
    assert cut(talk) == 64 << 10


def test_the_operator_says_the_rate() -> None:
    talk = Talk(a_scheduler(SchedulerSettings(node_rate=FAST)))
    talk.seed_knows().hello("a").pulls("a")
    assert cut(talk) == 512 << 10
    talk.says("a", finished(1.0 * MB))
    assert cut(talk) == 512 << 10


@pytest.mark.parametrize("size", [64 << 10, 256 << 10, 4 << 20])
@pytest.mark.parametrize("holds", [True, False])
def test_a_task_is_cut_as_somebody_has_it(talk: Talk, holds: bool, size: int) -> None:
    talk.hello("a", "b")
    if holds:
        talk.says("a", msg.Holding(keys=(BLOB.key,), piece_size=size))
    else:
        talk.says("a", msg.Join(spec=BLOB, pieces=1, piece_size=size))
    talk.says("b", msg.Join(spec=BLOB, pieces=1, piece_size=2 * size))
    assert talk.mind.piece_size(BLOB.key, LENGTH) == size


@pytest.mark.parametrize("size", [0, 1, 48 << 10, 8 << 20])
def test_nobody_has_it_so(talk: Talk, size: int) -> None:
    talk.hello("a", "b")
    talk.says("a", msg.Join(spec=BLOB, pieces=1, piece_size=size))
    talk.says("b", msg.Holding(keys=(BLOB.key,), piece_size=size))
    assert talk.mind.piece_size(BLOB.key, LENGTH) == 64 << 10
    assert "b" not in talk.mind.roster.tasks[BLOB.key].members


def test_no_smaller_than_its_length_wants(talk: Talk) -> None:
    """Or a word of one node would make millions of pieces."""
    talk.hello("a").says("a", msg.Join(spec=BLOB, pieces=1, piece_size=MIN_PIECE))
    assert talk.mind.piece_size(BLOB.key, 1 << 40) == piece_size_for(1 << 40)


def test_who_holds_other_pieces_is_nobodys_neighbour(talk: Talk) -> None:
    talk.seed_knows().hello("other", "same", "a")
    talk.says("other", msg.Holding(keys=(BLOB.key,), piece_size=2 * MIN_PIECE))
    talk.says("same", msg.Holding(keys=(BLOB.key,), piece_size=MIN_PIECE))
    talk.pulls("a")
    assert talk.given("a") == {"same", "seed"}


def test_who_holds_other_pieces_than_the_seed_has_is_dropped(talk: Talk) -> None:
    talk.hello("other", "a")
    talk.says("other", msg.Holding(keys=(BLOB.key,), piece_size=2 * MIN_PIECE))
    talk.pulls("a").rest()
    talk.says("seed", described(digests=DIGESTS))
    assert talk.given("a") == {"seed"}
    assert set(talk.mind.roster.tasks[BLOB.key].members) == {"a"}


def test_a_task_that_is_read_again_is_cut_as_before(talk: Talk) -> None:
    talk.seed_knows().hello("a").pulls("a").done("a").rest()
    talk.says("a", finished(FAST))
    talk >> ev.Evicted(BLOB.key)
    assert cut(talk, 1024 * MIN_PIECE) == 4 * MIN_PIECE
    assert talk.mind.piece_size(BLOB.key, 1024 * MIN_PIECE) == MIN_PIECE
