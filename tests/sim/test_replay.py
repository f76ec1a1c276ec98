from __future__ import annotations

import pytest

from dragonfly.core.pieces import PieceLayout
from dragonfly.errors import UsageError
from dragonfly.sim.churn import Crowd, rehearse
from dragonfly.sim.replay import read, replay, write
from dragonfly.sim.world import Transfer

CROWD = Crowd(peers=12, size=3_000_000)


def recorded() -> list[str]:
    transfers: list[Transfer] = []
    rehearse(CROWD, transfers=transfers)
    return list(write("sha256-00", CROWD.layout, transfers))


def test_a_recording_tells_who_was_there() -> None:
    recording = read(recorded())
    assert recording.seeds() == {"seed"}
    assert set(recording.ends()) == {"seed", *(f"p{i}" for i in range(12))}
    up, down = recording.rates()
    assert up["seed"] <= CROWD.seed_rate * 1.05
    assert all(down[f"p{i}"] == pytest.approx(CROWD.peer_rate, rel=0.1) for i in range(12))


def test_a_replay_of_a_rehearsal_takes_about_as_long() -> None:
    recording = read(recorded())
    outcome = replay(recording)
    assert outcome.finished == 12
    assert outcome.last_s == pytest.approx(max(recording.ends().values()), rel=0.2)


def test_a_recording_survives_writing_and_reading() -> None:
    lines = recorded()
    recording = read(lines)
    again = read(write(recording.task, recording.layout, recording.transfers))
    assert again == recording


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["{}"],
        ['{"task": "t", "length": 10, "piece_size": 4}'],
        ['{"task": "t", "length": 10, "piece_size": 4}', "nonsense"],
        [
            '{"task": "t", "length": 10, "piece_size": 4}',
            '{"node": "a", "giver": "", "piece": 3, "began": 0, "ended": 1}',
        ],
        ['{"task": "t", "length": 10, "piece_size": 0}'],
    ],
)
def test_what_is_no_recording_is_refused_in_words(lines: list[str]) -> None:
    with pytest.raises(UsageError):
        read(lines)


def test_layouts_are_kept() -> None:
    assert read(recorded()).layout == PieceLayout.for_length(CROWD.size)
