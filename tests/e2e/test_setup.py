"""Runtimes that are told of the daemon by nothing but `dragonfly setup`, and the doctor's word on it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from e2e.certificates import Authority
from e2e.images import Image
from e2e.nodes import Node, wait_for
from e2e.registries import Registry, start_registry
from e2e.runtimes import Containerd, Docker, Podman, skopeo_pull
from e2e.world import COMMANDS, MIRROR, Daemon, Supernode, World

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


@pytest.mark.needs("dockerd", "docker-registry", "skopeo")
def test_docker_mirrors_the_hub_after_a_reload_and_pulls_on_without_the_daemon(
    world: World, storage: Path, supernode: Supernode, images: dict[str, Image]
) -> None:
    """A hub of our own stands behind the name registry-1.docker.io, with TLS."""
    tool = images["tool"]
    authority = Authority(world.base / "hub")
    hub = start_registry(world.node("hub"), storage, port=443, tls=authority.issue("registry-1.docker.io"))
    node = world.node("sethub")
    node.knows(**{"registry-1.docker.io": hub.node.ip})
    docker = Docker(node, env={"SSL_CERT_FILE": str(authority.certificate)})
    (daemon,) = world.daemons([node], supernode, "--upstream-ca", str(authority.certificate))
    assert "reload dockerd" in setup(node, "docker")
    os.kill(docker.process.pid, signal.SIGHUP)
    wait_for(lambda: f"http://127.0.0.1:{MIRROR}/" in docker.cli("info").stdout, "the mirror")
    reference = f"{tool.name}:{tool.tag}"

    def pull() -> set[str]:
        docker.cli("image", "rm", "--force", reference, check=False)
        hub.mark()
        docker.pull(reference)
        assert docker.layers(reference) == list(tool.diff_ids)
        return hub.fetchers()

    assert "docker" not in pull()
    assert doctor(node)["docker"]["verdict"] == "good"
    daemon.process.stop()
    assert pull() == {"docker"}, "without the daemon dockerd goes to the hub"
    setup(node, "docker", "--undo")
    os.kill(docker.process.pid, signal.SIGHUP)
    assert pull() == {"docker"}


@pytest.mark.needs("containerd", "ctr", "docker-registry", "skopeo")
def test_containerd_pulls_through_the_daemon_and_on_without_it(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    node, tool = world.node("setcontainerd"), images["tool"]
    containerd = Containerd(node)
    setup(node, "containerd", "--registry", registry.url)
    (daemon,) = world.daemons([node], supernode, "--map", f"{registry.host}={registry.url}")
    reference = f"{registry.host}/{tool.name}:{tool.tag}"
    registry.mark()
    containerd.pull(reference)
    assert registry.blob_bytes() <= 1.02 * tool.blob_bytes
    found = doctor(node)
    assert found["containerd"]["verdict"] == "good"
    assert not [f for f in found.values() if f["verdict"] == "bad"], found
    held = node.run(COMMANDS / "dragonfly", "cache", "ls", "--json", "--data-dir", daemon.data).stdout
    assert all(digest.replace(":", "-") in held for digest, _ in tool.layers), "they came past the daemon"
    daemon.process.stop()
    for undone in (False, True):
        if undone:
            setup(node, "containerd", "--undo")
        containerd.ctr("images", "rm", "--sync", reference)
        assert not containerd.has(tool.layers[0][0])
        registry.mark()
        containerd.pull(reference, *(["--plain-http"] if undone else []))
        assert registry.blob_bytes() >= tool.blob_bytes, "it did not go to the registry itself"


@pytest.mark.needs("podman", "docker-registry", "skopeo")
def test_podman_pulls_by_a_domain_as_its_mirror_and_on_without_the_daemon(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    node, app = world.node("setpodman"), images["app"]
    podman = Podman(node)
    setup(node, "podman", "--domain", f"{DOMAIN}={registry.url}")
    daemon = daemon_for(world, node, supernode, registry)
    reference = f"{registry.host}/{app.name}:{app.tag}"
    registry.mark()
    podman.pull(reference)
    assert podman.layers(reference) == list(app.diff_ids)
    assert "containers" not in registry.fetchers()
    daemon.process.stop()
    node.run("podman", "rmi", reference)
    podman.pull(reference)
    assert "containers" in registry.fetchers(), "without the daemon podman goes to the registry"


@pytest.mark.needs("podman", "skopeo", "docker-registry")
def test_what_crio_is_told_is_read_by_its_own_library_beside_what_was_there(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    """skopeo reads registries.conf with the library that CRI-O uses, and refuses what it can't read."""
    node, tool = world.node("setcrio"), images["tool"]
    node.write("/etc/containers/registries.conf", f"""
        unqualified-search-registries = ["docker.io"]
        [[registry]]  # as an operator wrote it
        prefix = "images.example.com"
        location = "{registry.host}"
        insecure = true
        [[registry.mirror]]
        location = "127.0.0.1:9"
        """)  # fmt: skip
    assert "reload crio" in setup(node, "crio", "--registry", "images.example.com")
    (daemon,) = world.daemons([node], supernode, "--registry", registry.url)
    for through in (True, False):
        if not through:
            daemon.process.stop()
        registry.mark()
        found = skopeo_pull(node, f"images.example.com/{tool.name}:{tool.tag}")
        assert {digest for digest, _ in tool.layers} <= found.keys()
        assert ("skopeo" in registry.fetchers()) is not through


def test_the_doctor_names_the_cure_where_no_daemon_runs(world: World) -> None:
    found = doctor(world.node("sick"))
    assert found["daemon"]["verdict"] == "bad"
    assert "dfdaemon" in found["daemon"]["cure"]
