"""containerd, podman, CRI-O's library, buildah and skopeo in front of a TLS registry, unchanged."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from e2e.certificates import Authority
from e2e.images import Image, make_image
from e2e.nodes import Node
from e2e.registries import Registry
from e2e.runtimes import Containerd, Podman, skopeo_pull
from e2e.world import MIRROR, Daemon, Supernode, World

pytestmark = pytest.mark.needs("docker-registry", "skopeo")

#: The registry as the world knows it, and the domain by which nodes reach it through the swarm.
REGISTRY = "registry.example"
DOMAIN = "images.p2p"


@pytest.fixture(scope="module")
def registry(world: World, storage: Path, authority: Authority) -> Registry:
    return world.tls_registry(storage, authority, REGISTRY)


@pytest.fixture(scope="module")
def supernode(world: World, registry: Registry, authority: Authority) -> Supernode:
    node = world.node("super")
    node.knows(**{REGISTRY: registry.node.ip})
    return Supernode(node)


@pytest.fixture(scope="module")
def daemons(world: World, supernode: Supernode, registry: Registry, authority: Authority) -> list[Daemon]:
    """Two nodes with daemons that know the registry's CA; the P2P domain is theirs."""
    nodes = world.nodes(2)
    for node in nodes:
        node.knows(**{REGISTRY: registry.node.ip, DOMAIN: "127.0.0.1"})
    return world.daemons(
        nodes, supernode, "--tls-listen", "127.0.0.1:443", "--map", f"{DOMAIN}=https://{REGISTRY}",
        "--registry", f"https://{REGISTRY}", "--upstream-ca", str(authority.certificate),
    )  # fmt: skip


@pytest.fixture(scope="module")
def node(daemons: list[Daemon]) -> Node:
    """The node that the tests of one client look at."""
    return daemons[0].node


@pytest.fixture(scope="module")
def containerds(daemons: list[Daemon]) -> list[Containerd]:
    return [Containerd(daemon.node) for daemon in daemons]


@pytest.mark.needs("containerd", "ctr")
class TestContainerd:
    def test_mirror_for_all_registries_with_ns(
        self, containerds: list[Containerd], registry: Registry, images: dict[str, Image]
    ) -> None:
        """`_default/hosts.toml`: containerd names the registry in `?ns=`. By itself it could not
        pull past the daemon, for it does not know the registry's CA."""
        app = images["app"]
        registry.mark()
        for containerd in containerds:
            containerd.hosts(
                "_default",
                f'[host."http://127.0.0.1:{MIRROR}"]\n  capabilities = ["pull", "resolve"]\n',
            )
            containerd.pull(f"{REGISTRY}/{app.name}:{app.tag}")
            assert all(containerd.has(digest) for digest, _ in app.layers)
        assert registry.blob_bytes() <= 1.02 * app.blob_bytes

    def test_p2p_domain_with_its_ca(
        self, containerds: list[Containerd], daemons: list[Daemon], images: dict[str, Image]
    ) -> None:
        tool = images["tool"]
        for containerd, daemon in zip(containerds, daemons, strict=True):
            containerd.hosts(
                DOMAIN,
                f'server = "https://{DOMAIN}"\n[host."https://{DOMAIN}"]\n'
                f'  capabilities = ["pull", "resolve"]\n  ca = "{daemon.ca}"\n',
            )
            containerd.pull(f"{DOMAIN}/{tool.name}:{tool.tag}")
            assert all(containerd.has(digest) for digest, _ in tool.layers)


@pytest.mark.needs("podman")
def test_podman_and_crio_mirrors(node: Node, registry: Registry, images: dict[str, Image]) -> None:
    """registries.conf, which CRI-O reads by the same library: the registry's own name, a mirror before it."""
    tool = images["tool"]
    podman = Podman(node)
    podman.mirrors(
        f'[[registry]]\nlocation = "{REGISTRY}"\n'
        f'[[registry.mirror]]\nlocation = "127.0.0.1:{MIRROR}"\ninsecure = true\n'
    )
    reference = f"{REGISTRY}/{tool.name}:{tool.tag}"
    podman.pull(reference)
    assert podman.layers(reference) == list(tool.diff_ids)


@pytest.mark.needs("podman")
def test_podman_by_the_p2p_domain(node: Node, daemons: list[Daemon], images: dict[str, Image]) -> None:
    app = images["app"]
    podman = Podman(node)
    daemons[0].trust_in(f"/etc/containers/certs.d/{DOMAIN}")
    reference = f"{DOMAIN}/{app.name}:{app.tag}"
    podman.pull(reference)
    assert podman.layers(reference) == list(app.diff_ids)


@pytest.mark.needs("buildah", "podman")
def test_buildah_by_the_p2p_domain(node: Node, daemons: list[Daemon], images: dict[str, Image]) -> None:
    tool = images["tool"]
    podman = Podman(node)
    daemons[0].trust_in(f"/etc/containers/certs.d/{DOMAIN}")
    reference = f"{DOMAIN}/{tool.name}:{tool.tag}"
    podman.pull(reference, tool="buildah")
    assert podman.layers(reference) == list(tool.diff_ids)


def test_skopeo_by_the_p2p_domain(node: Node, daemons: list[Daemon], images: dict[str, Image]) -> None:
    app = images["app"]
    daemons[0].trust_in(f"/etc/containers/certs.d/{DOMAIN}")
    got = skopeo_pull(node, f"{DOMAIN}/{app.name}:{app.tag}")
    for digest, _ in app.layers:
        assert "sha256:" + hashlib.sha256(got[digest].read_bytes()).hexdigest() == digest


def test_the_domain_is_not_trusted_before_its_ca_is(
    world: World, daemons: list[Daemon], images: dict[str, Image]
) -> None:
    """What the tests above prove depends on it."""
    app = images["app"]
    other = daemons[1].node
    done = other.run("skopeo", "inspect", f"docker://{DOMAIN}/{app.name}:{app.tag}", check=False, timeout=60)
    assert done.returncode != 0
    assert "x509" in done.stderr or "certificate" in done.stderr


def test_push_through_the_daemon(
    world: World, node: Node, daemons: list[Daemon], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Uploads pass through: skopeo pushes by the P2P domain and reads it back."""
    fresh = make_image(tmp_path_factory.mktemp("pushed") / "image", "team/pushed", [2_000_000, 5_000])
    daemons[0].trust_in(f"/etc/containers/certs.d/{DOMAIN}")
    node.run("skopeo", "copy", "--quiet", f"oci:{fresh.folder}:v1", f"docker://{DOMAIN}/{fresh.name}:v1")
    got = skopeo_pull(node, f"{DOMAIN}/{fresh.name}:v1")
    assert {digest for digest, _ in fresh.layers} <= got.keys()
