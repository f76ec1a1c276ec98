"""Runtimes that are told of the daemon by nothing but `dragonfly setup`, and the doctor's word on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from e2e.images import Image
from e2e.nodes import Node
from e2e.registries import Registry
from e2e.runtimes import Containerd, Docker, Podman
from e2e.world import COMMANDS, Daemon, Supernode, World

DOMAIN = "images.p2p"


@pytest.fixture(scope="module")
def registry(world: World, storage: Path) -> Registry:
    return world.registry(storage)


@pytest.fixture(scope="module")
def supernode(world: World) -> Supernode:
    return world.supernode()


def setup(node: Node, *args: str) -> str:
    done = node.run(COMMANDS / "dragonfly", "setup", *args, "--data-dir", node.home / "dragonfly")
    return done.stdout + done.stderr


def doctor(node: Node) -> dict[str, dict[str, str]]:
    done = node.run(COMMANDS / "dragonfly", "doctor", "--json", "--data-dir", node.home / "dragonfly", check=False)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [finding for finding in findings if finding["verdict"] == "bad"]
    assert done.returncode == (1 if bad else 0), done.stderr
    return {finding["check"]: finding for finding in findings}


def daemon_for(world: World, node: Node, supernode: Supernode, registry: Registry) -> Daemon:
    options = ("--tls-listen", "127.0.0.1:443", "--map", f"{DOMAIN}={registry.url}")
    return world.daemons([node], supernode, *options)[0]


@pytest.mark.needs("dockerd", "docker-registry", "skopeo")
def test_docker_pulls_after_setup_without_a_restart(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    node, app = world.node("setdocker"), images["app"]
    node.knows(**{DOMAIN: "127.0.0.1"})  # Go looks at /etc/hosts again only after 5 s
    docker = Docker(node)
    pid = docker.process.pid
    assert "no restart" in setup(node, "docker", "--domain", f"{DOMAIN}={registry.host}")
    daemon_for(world, node, supernode, registry)
    registry.mark()
    docker.pull(f"{DOMAIN}/{app.name}:{app.tag}")
    assert docker.process.pid == pid
    assert registry.blob_bytes() <= 1.02 * app.blob_bytes
    found = doctor(node)
    for check in ("daemon", "CA", "port", f"name {DOMAIN}", f"TLS {DOMAIN}:443", "docker", f"registry {registry.url}"):
        assert found[check]["verdict"] == "good", found[check]
    assert [f for f in found.values() if f["check"].startswith("supernode") and f["verdict"] == "good"]
    setup(node, "docker", "--undo")
    assert found["docker"]["verdict"] == "good"
    assert doctor(node)["docker"]["verdict"] == "note"


@pytest.mark.needs("containerd", "ctr", "docker-registry", "skopeo")
def test_containerd_pulls_every_registry_through_the_daemon(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    node, tool = world.node("setcontainerd"), images["tool"]
    containerd = Containerd(node)
    setup(node, "containerd", "--registry", registry.host)
    (daemon,) = world.daemons([node], supernode, "--map", f"{registry.host}={registry.url}")
    registry.mark()
    containerd.pull(f"{registry.host}/{tool.name}:{tool.tag}")
    assert registry.blob_bytes() <= 1.02 * tool.blob_bytes
    found = doctor(node)
    assert found["containerd"]["verdict"] == "good"
    assert not [f for f in found.values() if f["verdict"] == "bad"], found
    held = node.run(COMMANDS / "dragonfly", "cache", "ls", "--json", "--data-dir", daemon.data).stdout
    assert all(digest.replace(":", "-") in held for digest, _ in tool.layers), "they came past the daemon"


@pytest.mark.needs("podman", "docker-registry", "skopeo")
def test_podman_pulls_by_a_domain_as_its_mirror(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    node, app = world.node("setpodman"), images["app"]
    podman = Podman(node)
    setup(node, "podman", "--domain", f"{DOMAIN}={registry.host}")
    daemon = daemon_for(world, node, supernode, registry)
    podman.pull(f"{registry.host}/{app.name}:{app.tag}")
    assert podman.layers(f"{registry.host}/{app.name}:{app.tag}") == list(app.diff_ids)
    assert daemon.node.run(COMMANDS / "dragonfly", "cache", "ls", "--data-dir", daemon.data).stdout


def test_the_doctor_names_the_cure_where_no_daemon_runs(world: World) -> None:
    found = doctor(world.node("sick"))
    assert found["daemon"]["verdict"] == "bad"
    assert "dfdaemon" in found["daemon"]["cure"]
