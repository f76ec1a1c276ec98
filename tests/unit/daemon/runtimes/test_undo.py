"""Taking a setup back beside what others did since, people and other runtimes."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragonfly.daemon.runtimes import containerd, containers, docker
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import apply, diff
from dragonfly.daemon.runtimes.undo import plan_undo, undo
from dragonfly.daemon.runtimes.wanted import Wanted
from dragonfly.errors import UsageError
from unit.daemon.runtimes.conftest import HOSTS

ONE = Wanted(domains={"one.p2p": "one.example.com"}, ca="CA\n")
TWO = Wanted(domains={"two.p2p": "two.example.com"}, ca="CA\n")


def test_lines_that_others_wrote_in_etc_hosts_stay(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, ONE), records)
    host.write("/etc/hosts", (host.read("/etc/hosts") or b"") + b"10.0.0.9 ours\n")
    apply(host, docker.plan(host, TWO), records)
    undo(host, "docker", records)
    assert host.text("/etc/hosts") == HOSTS + "10.0.0.9 ours\n"
    assert not host.path("/etc/docker/certs.d").exists()


@pytest.mark.parametrize("first", ["docker", "podman"])
def test_a_name_stays_as_long_as_another_runtime_needs_it(host: Host, records: Path, first: str) -> None:
    apply(host, docker.plan(host, ONE), records)
    apply(host, containers.plan_podman(host, ONE), records)
    undo(host, first, records)
    assert "127.0.0.1 one.p2p # dragonfly" in (host.text("/etc/hosts") or "")
    undo(host, "podman" if first == "docker" else "docker", records)
    assert host.text("/etc/hosts") == HOSTS


def test_each_runtime_takes_its_own_names(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, ONE), records)
    apply(host, containers.plan_podman(host, TWO), records)
    undo(host, "docker", records)
    assert host.text("/etc/hosts") == HOSTS + "127.0.0.1 two.p2p # dragonfly\n"
    undo(host, "podman", records)
    assert host.text("/etc/hosts") == HOSTS


def test_a_name_that_was_there_before_us_stays(host: Host, records: Path) -> None:
    host.write("/etc/hosts", b"127.0.0.1 one.p2p\n")
    apply(host, docker.plan(host, ONE), records)
    undo(host, "docker", records)
    assert host.text("/etc/hosts") == "127.0.0.1 one.p2p\n"


def test_what_undo_would_do_can_be_seen(host: Host, records: Path) -> None:
    apply(host, containerd.plan(host, Wanted()), records)
    shown = diff(plan_undo(host, "containerd", records))
    assert "--- /etc/containerd/certs.d/_default/hosts.toml\n+++ /dev/null\n" in shown
    assert host.read("/etc/containerd/certs.d/_default/hosts.toml")


def test_what_was_already_taken_back_by_hand_does_not_hinder(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, Wanted()), records)
    host.write("/etc/docker/daemon.json", None)
    assert undo(host, "docker", records) == ()
    assert undo(host, "docker", records) is None


def test_an_undo_that_fails_can_be_tried_again(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, ONE), records)
    folder = host.path("/etc/docker/certs.d/one.p2p")
    content = (folder / "ca.crt").read_bytes()
    (folder / "ca.crt").unlink()
    (folder / "ca.crt").mkdir()
    with pytest.raises(UsageError):
        undo(host, "docker", records)
    (folder / "ca.crt").rmdir()
    (folder / "ca.crt").write_bytes(content)
    undo(host, "docker", records)
    assert host.text("/etc/hosts") == HOSTS


def test_a_record_that_can_not_be_read_is_named(host: Host, records: Path) -> None:
    apply(host, docker.plan(host, ONE), records)
    (records / "docker.json").write_text("{")
    with pytest.raises(UsageError, match=r"docker\.json"):
        undo(host, "docker", records)
