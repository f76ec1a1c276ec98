"""`docker pull` through the swarm: by a P2P domain, as a registry mirror, by the HTTP(S) proxy."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dragonfly.core.units import format_size
from e2e.images import Image
from e2e.registries import Registry
from e2e.runtimes import Docker
from e2e.world import MIRROR, Daemon, Supernode, World, at_once

pytestmark = pytest.mark.needs("dockerd", "docker-registry", "skopeo")

DOMAIN = "images.p2p"


@pytest.fixture(scope="module")
def registry(world: World, storage: Path) -> Registry:
    return world.registry(storage)


@pytest.fixture(scope="module")
def supernode(world: World) -> Supernode:
    return world.supernode()


@pytest.fixture(scope="module")
def dockers(world: World) -> list[Docker]:
    """Three nodes where dockerd runs before anything of Dragonfly is there.

    But for the domain's name: Go looks at a changed /etc/hosts only 5 s after it last did.
    """
    nodes = world.nodes(3)
    for node in nodes:
        node.knows(**{DOMAIN: "127.0.0.1"})
    return [Docker(node) for node in nodes]


@pytest.fixture(scope="module")
def daemons(world: World, dockers: list[Docker], registry: Registry, supernode: Supernode) -> list[Daemon]:
    nodes = [docker.node for docker in dockers]
    made = world.daemons(nodes, supernode, "--tls-listen", "127.0.0.1:443", "--map", f"{DOMAIN}={registry.url}")
    for daemon in made:
        daemon.trust_in(f"/etc/docker/certs.d/{DOMAIN}")
    return made


def test_three_nodes_at_once_cost_the_registry_one_image(
    dockers: list[Docker], daemons: list[Daemon], registry: Registry, images: dict[str, Image],
    supernode: Supernode,
) -> None:  # fmt: skip
    app = images["app"]
    pids = [docker.process.pid for docker in dockers]
    sent = registry.node.sent()
    registry.mark()
    reference = f"{DOMAIN}/{app.name}:{app.tag}"
    outputs = at_once(dockers, lambda docker: docker.pull(reference))
    assert all(app.manifest in output for output in outputs)
    for docker in dockers:
        assert docker.layers(reference) == list(app.diff_ids)
    assert [docker.process.pid for docker in dockers] == pids, "a dockerd was restarted"
    assert registry.blob_bytes() <= 1.02 * app.blob_bytes
    assert registry.node.sent() - sent <= 1.06 * app.blob_bytes  # headers of packets included
    stats = supernode.stats()
    assert app.blob_bytes * 0.99 <= stats["origin_bytes"] <= app.blob_bytes * 1.02
    assert stats["p2p_bytes"] + stats["seed_upload_bytes"] >= 2 * sum(s for _, s in app.layers)


def test_a_second_pull_comes_from_the_nodes_own_store(
    dockers: list[Docker], daemons: list[Daemon], registry: Registry, images: dict[str, Image]
) -> None:
    docker, tool = dockers[0], images["tool"]
    reference = f"{DOMAIN}/{tool.name}:{tool.tag}"
    docker.pull(reference)
    docker.cli("image", "rm", reference)
    registry.mark()
    received = docker.node.received()
    docker.pull(reference)
    assert docker.layers(reference) == list(tool.diff_ids)
    assert registry.blob_bytes() == 0
    assert docker.node.received() - received < 200_000


def test_an_unknown_image_gives_the_registrys_own_refusal(dockers: list[Docker], daemons: list[Daemon]) -> None:
    done = dockers[0].cli("pull", f"{DOMAIN}/team/nothing:v1", check=False)
    assert done.returncode != 0
    assert "manifest unknown" in done.stderr or "not found" in done.stderr


def test_a_pull_goes_on_while_the_supernode_dies(world: World, storage: Path, images: dict[str, Image]) -> None:
    """Slow cables, so that the supernode is killed in the middle."""
    app = images["app"]
    registry = world.net.nodes["registry"]
    supernode = world.supernode(name="mortal", mbit=40)
    nodes = [world.node(f"m{i}", mbit=40) for i in range(3)]
    for node in nodes:
        node.knows(**{DOMAIN: "127.0.0.1"})
    dockers = [Docker(node) for node in nodes]
    for daemon in world.daemons(
        nodes, supernode, "--tls-listen", "127.0.0.1:443", "--map", f"{DOMAIN}=http://{registry.ip}:5000"
    ):
        daemon.trust_in(f"/etc/docker/certs.d/{DOMAIN}")
    reference = f"{DOMAIN}/{app.name}:{app.tag}"
    before = [node.received() for node in nodes]
    with ThreadPoolExecutor() as pool:
        pulls = [pool.submit(docker.pull, reference) for docker in dockers]
        deadline = time.monotonic() + 20
        while min(node.received() - at for node, at in zip(nodes, before, strict=True)) < 3_000_000:
            assert time.monotonic() < deadline, "no bytes came in 20 s"
            time.sleep(0.05)
        assert not any(pull.done() for pull in pulls), "too late to kill it in the middle"
        supernode.process.kill()
        for pull in pulls:
            pull.result()
    assert all(docker.layers(reference) == list(app.diff_ids) for docker in dockers)


def test_the_lowest_layer_is_read_first(world: World, storage: Path, images: dict[str, Image]) -> None:
    """Docker asks for three at once, in any order; the lowest, which is the largest here, is what it unpacks first."""
    app = images["app"]
    registry = world.registry(storage, name="far", mbit=60)
    supernode = world.supernode(name="orderly")
    node = world.node("unpacks")
    world.daemons([node], supernode, "--registry", registry.url)
    docker = Docker(node, "--registry-mirror", f"http://127.0.0.1:{MIRROR}")
    docker.pull(f"{app.name}:{app.tag}")
    log = supernode.process.output()
    low, next_one = (log.index(f"pull.finished {format_size(size)} ") for _, size in app.layers[:2])
    assert low < next_one


def test_docker_registry_mirrors(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    """`registry-mirrors` of daemon.json stands in front of docker.io."""
    tool = images["tool"]
    node = world.node("mirrored")
    world.daemons([node], supernode, "--registry", registry.url)
    docker = Docker(node, "--registry-mirror", f"http://127.0.0.1:{MIRROR}")
    docker.pull(f"{tool.name}:{tool.tag}")
    assert docker.layers(f"{tool.name}:{tool.tag}") == list(tool.diff_ids)


def test_docker_through_the_http_proxy(
    world: World, registry: Registry, supernode: Supernode, images: dict[str, Image]
) -> None:
    """dockerd with HTTP_PROXY, a registry over plain HTTP."""
    tool = images["tool"]
    node = world.node("proxied")
    world.daemons([node], supernode)
    proxy = f"http://127.0.0.1:{MIRROR}"
    docker = Docker(node, "--insecure-registry", registry.host, env={"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy})
    reference = f"{registry.host}/{tool.name}:{tool.tag}"
    registry.mark()
    docker.pull(reference)
    assert docker.layers(reference) == list(tool.diff_ids)
    assert registry.blob_bytes() <= 1.02 * tool.blob_bytes
    docker.cli("image", "rm", reference)
    registry.mark()
    docker.pull(reference)
    assert registry.blob_bytes() == 0, "the layers were not kept by the daemon"
