"""What pulls images, for real: Docker, containerd, podman, buildah, skopeo, each with a node's own state."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from e2e.nodes import Node, Process, environment, wait_for

#: Debian's own; the machine may have another client in front of it on PATH.
DOCKER = "/usr/bin/docker"
DOCKERD = "/usr/sbin/dockerd"


def lacking(*tools: str) -> str:
    """Which of these programs are not installed; empty if none."""
    path = environment()["PATH"]
    return " ".join(t for t in tools if shutil.which(t, path=path) is None)


@cache
def overlay_works() -> bool:
    """Containers' storage can be overlays where the tests keep their files."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        for name in ("lower", "upper", "work", "merged"):
            Path(folder, name).mkdir()
        done = subprocess.run(
            ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o",
             f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work", f"{folder}/merged"],
            capture_output=True,
        )  # fmt: skip
        return done.returncode == 0


def scratch() -> str:
    """Where large files of tests go: a real disk, a short path (unix sockets have 107 characters)."""
    return os.environ.get("DRAGONFLY_E2E_DIR", "/var/tmp")


class Docker:
    """A dockerd of this node."""

    def __init__(self, node: Node, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.node = node
        driver = "overlay2" if overlay_works() else "vfs"
        self.process: Process = node.start(
            "dockerd", DOCKERD, "--data-root", node.home / "docker", "--exec-root", "/run/docker",
            "--pidfile", "/run/docker.pid", "--host", "unix:///run/docker.sock", "--iptables=false",
            "--ip-forward=false", "--bridge=none", "--storage-driver", driver, "--log-level", "warn",
            *options, env=env,
        )  # fmt: skip
        wait_for(
            lambda: not self.process.alive or self.cli("version", check=False).returncode == 0,
            f"dockerd on {node.name}", 40, 0.2,
        )  # fmt: skip
        assert self.process.alive, self.process.output()

    def cli(self, *args: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return self.node.run(DOCKER, "-H", "unix:///run/docker.sock", *args, check=check, timeout=timeout)

    def pull(self, reference: str, *, timeout: float = 120) -> str:
        return self.cli("pull", reference, timeout=timeout).stdout

    def layers(self, reference: str) -> list[str]:
        """Digests of the unpacked layers: what docker itself computed from the bytes it got."""
        found: list[str] = json.loads(self.cli("image", "inspect", reference).stdout)[0]["RootFS"]["Layers"]
        return found


class Containerd:
    """A containerd of this node, asked by ctr; hosts.toml files below /etc/containerd/certs.d."""

    hosts_dir = "/etc/containerd/certs.d"

    def __init__(self, node: Node) -> None:
        self.node = node
        node.write(
            "/etc/containerd/config.toml",
            "version = 2\n"
            f'root = "{node.home}/containerd"\n'
            'state = "/run/containerd"\n'
            'disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri"]\n'
            '[grpc]\n  address = "/run/containerd/containerd.sock"\n',
        )
        self.process = node.start("containerd", "containerd", "--config", "/etc/containerd/config.toml")
        wait_for(
            lambda: not self.process.alive or self.ctr("version", check=False).returncode == 0,
            f"containerd on {node.name}", 30, 0.2,
        )  # fmt: skip
        assert self.process.alive, self.process.output()
        node.path(self.hosts_dir).mkdir(parents=True, exist_ok=True)

    def ctr(self, *args: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return self.node.run("ctr", "--address", "/run/containerd/containerd.sock", *args, check=check, timeout=timeout)

    def hosts(self, registry: str, toml: str) -> None:
        """Write `registry`'s hosts.toml (`_default` for all others)."""
        self.node.write(f"{self.hosts_dir}/{registry}/hosts.toml", toml)

    def pull(self, reference: str, *options: str, timeout: float = 120) -> str:
        snapshotter = "overlayfs" if overlay_works() else "native"
        return self.ctr(
            "images", "pull", "--snapshotter", snapshotter, "--hosts-dir", self.hosts_dir, *options,
            reference, timeout=timeout,
        ).stdout  # fmt: skip

    def has(self, digest: str) -> bool:
        """The content store has this blob, whole (containerd checks digests as it ingests)."""
        return digest in self.ctr("content", "ls", "-q").stdout.split()


class Podman:
    """podman and buildah with storage of this node; configuration below /etc/containers."""

    def __init__(self, node: Node) -> None:
        self.node = node
        driver = "overlay" if overlay_works() else "vfs"
        node.write(
            "/etc/containers/storage.conf",
            f'[storage]\ndriver = "{driver}"\nrunroot = "/run/containers/storage"\n'
            f'graphroot = "{node.home}/containers"\n',
        )

    def mirrors(self, toml: str) -> None:
        """Write registries.conf (version 2)."""
        self.node.write("/etc/containers/registries.conf", toml)

    def pull(self, reference: str, *options: str, tool: str = "podman") -> str:
        return self.node.run(tool, "pull", *options, reference).stdout

    def layers(self, reference: str) -> list[str]:
        inspected = json.loads(self.node.run("podman", "image", "inspect", reference).stdout)
        found: list[str] = inspected[0]["RootFS"]["Layers"]
        return found


def skopeo_pull(node: Node, reference: str, *options: str, check: bool = True) -> dict[str, Path]:
    """Copy an image into a folder; digest → file of each of its blobs (checked by the caller)."""
    folder = Path(tempfile.mkdtemp(prefix="skopeo-", dir=node.home))
    node.run("skopeo", "copy", *options, f"docker://{reference}", f"dir:{folder}", check=check)
    return {f"sha256:{f.name}": f for f in folder.iterdir() if len(f.name) == 64}
