"""docs/architecture.md: parts, life cycles and numbers as in the code."""

from __future__ import annotations

import re
import tomllib

import pytest

from docs.pages import ROOT, SOURCE, page
from dragonfly.core import pieces
from dragonfly.core.health import Health
from dragonfly.peer.settings import SourcePolicy
from dragonfly.scheduler.settings import SchedulerSettings
from dragonfly.swarm.download import State
from dragonfly.swarm.settings import SwarmSettings

TEXT = page("docs/architecture.md")


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [[part.strip() for part in line.split("|")] for line in contracts[0]["layers"]]
    drawing = TEXT.partition("## The parts\n\n```\n")[2].partition("```")[0]
    names = [re.match(r"\s*([a-z]+(?: │ [a-z]+)*)", line) for line in drawing.splitlines()]
    drawn = [[part.strip() for part in name[1].split("│")] for name in names if name]
    testing = [[part for part in layer if part != "testing"] for layer in layers]
    assert drawn == testing
    packages = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert {part for layer in layers for part in layer} == packages | {"errors"}


def test_the_life_cycle_of_a_pull_has_all_its_states() -> None:
    assert set(re.findall(r"\b[A-Z]{4,}\b", TEXT.partition("The mind of one pull")[2].partition("One task")[0])) == {
        state.name for state in State
    }


@pytest.mark.parametrize("policy", [SourcePolicy.FIRST, SourcePolicy.FALLBACK])
def test_policies_are_called_by_their_names(policy: SourcePolicy) -> None:
    assert f"`{policy.value}`" in TEXT


def test_files_that_are_named_exist() -> None:
    for name in re.findall(r"`([a-z]+/[a-z_/]+\.py)`", TEXT):
        assert (SOURCE / name).is_file(), name


def test_settings_that_are_named_exist() -> None:
    keys = page("docs/configuration.md")
    for name in re.findall(r"`([a-z]+_[a-z_]+)`", TEXT):
        if name not in ("source_policy", "next_deadline"):
            assert f"`{name}`" in keys, name


def test_numbers() -> None:
    swarm, scheduler = SwarmSettings(), SchedulerSettings()
    assert f"{pieces.MIN_PIECE >> 10} KiB to {pieces.MAX_PIECE >> 20} MiB" in TEXT
    assert f"({scheduler.degree} each)" in TEXT
    assert f"`stall_after_s` ({swarm.stall_after_s:g} s)" in TEXT
    health = Health()
    health.report("one", 5.0, 0.0)
    assert f"counts for at most {health.penalty(0.0):g}" in TEXT
    assert not health.isolated(0.0)
