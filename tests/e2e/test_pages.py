"""The pages of docs/runtimes, line by line as they are written, on nodes where the runtimes run."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from e2e.certificates import Authority
from e2e.images import Image
from e2e.nodes import Node, wait_for
from e2e.registries import Registry
from e2e.runtimes import Containerd, Docker, Podman, overlay_works
from e2e.world import COMMANDS, MIRROR, Supernode, World, http_status

pytestmark = pytest.mark.needs("docker-registry", "skopeo")

PAGES = Path(__file__).parents[2] / "docs" / "runtimes"
REGISTRY = "registry.example.com"


@pytest.fixture(scope="module")
def registry(world: World, storage: Path, authority: Authority) -> Registry:
    return world.tls_registry(storage, authority, REGISTRY)


@pytest.fixture(scope="module")
def supernode(world: World, registry: Registry, authority: Authority) -> Supernode:
    node = world.node("super")
    node.knows(**{REGISTRY: registry.node.ip})
    return Supernode(node, ["--upstream-ca", str(authority.certificate)])


def blocks(page: str, heading: str) -> list[str]:
    """The commands below a heading."""
    section = (PAGES / f"{page}.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert found, f"{page}: {heading}"
    return [line for block in found for line in block.splitlines()]


class Reader:
    """Somebody who types what a page says into the node's shell."""

    def __init__(self, node: Node, supernode: Supernode, image: Image, authority: Authority) -> None:
        self.node = node
        self._here = {"SUPERNODE": supernode.node.ip, "team/app:v1": f"{image.name}:{image.tag}"}
        # What is particular to this world: a registry with a CA of the tests' own, and where commands are.
        self._env = {
            "DRAGONFLY_UPSTREAM_CA": str(authority.certificate),
            "PATH": f"{COMMANDS}:/usr/sbin:/sbin:/usr/bin:/bin",
            "CONTAINERD_SNAPSHOTTER": "overlayfs" if overlay_works() else "native",
        }

    def types(self, line: str) -> str:
        for word, meant in self._here.items():
            line = line.replace(word, meant)
        if line.startswith("docker pull"):
            time.sleep(5)  # as the page says: dockerd sees a new name in /etc/hosts after that
        if not line.startswith("dfdaemon"):
            done = self.node.run("sh", "-ec", line, env=self._env)
            return done.stdout + done.stderr
        process = self.node.start("dfdaemon", "sh", "-ec", f"exec {line}", env=self._env)
        wait_for(lambda: not process.alive or http_status(self.node, f"http://127.0.0.1:{MIRROR}/healthz") == 200, line)
        assert process.alive, process.output()
        return ""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("docker", marks=pytest.mark.needs("dockerd")),
        pytest.param("containerd", marks=pytest.mark.needs("containerd", "ctr")),
        pytest.param("podman", marks=pytest.mark.needs("podman")),
        "crio",
    ],
)
def test_five_lines_start_it_and_undo_leaves_no_trace(
    world: World, registry: Registry, supernode: Supernode, authority: Authority, images: dict[str, Image], page: str
) -> None:
    node = world.node(f"p{page}")
    node.knows(**{REGISTRY: registry.node.ip})
    # The pages name no --data-dir: what this machine's own Dragonfly has in the default one is not the node's.
    node.run("sh", "-ec", "mkdir -p /var/lib/dragonfly; mount -t tmpfs tmpfs /var/lib/dragonfly")
    if page in ("docker", "containerd", "podman"):
        {"docker": Docker, "containerd": Containerd, "podman": Podman}[page](node)
    before = configuration(node)
    reader = Reader(node, supernode, images["app"], authority)
    registry.mark()
    for line in blocks(page, "Five lines to start"):
        if not line.startswith("systemctl"):  # no systemd runs here
            reader.types(line)
    if page == "crio":
        reader.types(f"skopeo copy docker://{REGISTRY}/team/app:v1 dir:{node.home}/copy")
    assert registry.fetchers() <= {"dragonfly"}
    for line in blocks(page, "How to undo"):
        if not line.startswith("systemctl"):
            reader.types(line)
    assert configuration(node) == before


def configuration(node: Node) -> dict[str, bytes]:
    """What is in the folders of /etc that setups write."""
    folders = [node.path(f"/etc/{name}") for name in ("docker", "containerd", "containers")]
    files = [file for folder in folders if folder.is_dir() for file in folder.rglob("*") if file.is_file()]
    return {str(file): file.read_bytes() for file in [*files, node.path("/etc/hosts")]}
