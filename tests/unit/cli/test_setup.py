"""`dragonfly setup` as it is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dragonfly.cli.setup import command
from dragonfly.errors import UsageError


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
    shown = run("docker", "--undo", "--dry-run", *here)
    assert "--- /etc/docker/certs.d/images.p2p/ca.crt" in shown
    assert (tmp_path / "etc/docker/certs.d").exists()
    assert "removed /etc/hosts" in run("docker", "--undo", *here)
    assert not (tmp_path / "etc/docker/certs.d").exists()
    assert "was not set up" in run("docker", "--undo", *here)


@pytest.mark.parametrize(("runtime", "word"), [("docker", "reload dockerd"), ("containerd", "restart containerd"),
                                               ("podman", "no restart"), ("crio", "reload crio")])  # fmt: skip
def test_it_says_what_the_runtime_needs_also_after_undo(here: list[str], runtime: str, word: str) -> None:
    assert word in run(runtime, *here)
    assert word in run(runtime, "--undo", *here)


def test_a_daemon_that_moved_is_found_in_the_record(tmp_path: Path, here: list[str]) -> None:
    run("docker", *here)
    run("docker", "--daemon", "127.0.0.1:7001", *here)
    assert json.loads((tmp_path / "etc/docker/daemon.json").read_text()) == {
        "registry-mirrors": ["http://127.0.0.1:7001"]
    }


def test_a_plain_registry_is_named_with_its_scheme(here: list[str]) -> None:
    assert "--map images.p2p=http://r:5000" in run("podman", "--domain", "images.p2p=http://r:5000", *here)


def test_a_data_directory_that_can_not_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    args = ["docker", "--domain", "a.p2p=r", "--root", str(tmp_path), "--data-dir", str(tmp_path / "file" / "x")]
    with pytest.raises(UsageError, match="Not a directory"):
        CliRunner().invoke(command, args, catch_exceptions=False)


@pytest.mark.parametrize("text", ["127.0.0.1", ":1", "h:0", "h:99999", "h:x"])
def test_what_is_no_address_is_refused(here: list[str], text: str) -> None:
    with pytest.raises(UsageError, match="HOST:PORT"):
        CliRunner().invoke(command, ["docker", "--daemon", text, *here], catch_exceptions=False)
