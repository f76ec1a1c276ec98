"""`dragonfly setup` as it is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dragonfly.cli.setup import command


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    (tmp_path / "etc").mkdir()
    return ["--root", str(tmp_path), "--data-dir", str(tmp_path / "data")]


def run(*args: str) -> str:
    done = CliRunner().invoke(command, args, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_dry_run_shows_a_diff_and_changes_nothing(tmp_path: Path, here: list[str]) -> None:
    shown = run("docker", "--domain", "images.p2p=r.example.com", "--dry-run", *here)
    assert "+127.0.0.1 images.p2p # dragonfly" in shown
    assert "+++ /etc/docker/certs.d/images.p2p/ca.crt" in shown
    assert list((tmp_path / "etc").iterdir()) == []
    assert not (tmp_path / "data").exists()


def test_setup_makes_the_ca_that_the_daemon_will_use(tmp_path: Path, here: list[str]) -> None:
    shown = run("docker", "--domain", "images.p2p=r.example.com", *here)
    assert "no restart" in shown
    assert "--map images.p2p=https://r.example.com" in shown
    trusted = (tmp_path / "etc/docker/certs.d/images.p2p/ca.crt").read_text()
    assert trusted == (tmp_path / "data/ca/ca.crt").read_text()
    assert "nothing to change" in run("docker", "--domain", "images.p2p=r.example.com", *here)
    assert "put back /etc/hosts" in run("docker", "--undo", *here)
    assert not (tmp_path / "etc/docker/certs.d").exists()
    assert "was not set up" in run("docker", "--undo", *here)
