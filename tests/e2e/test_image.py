"""The product's image, made without network, in real containers that are run as the plain manifests say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.images import Image
from e2e.nodes import Node, wait_for
from e2e.runtimes import Containerd, Podman
from e2e.world import CONTROL, MIRROR, World, http_status

pytestmark = pytest.mark.needs("umoci", "podman", "runc", "containerd", "ctr", "docker-registry", "skopeo")

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="module")
def image(folder: Path) -> str:
    layout = folder / "product"
    done = subprocess.run(
        [sys.executable, DEPLOY / "image" / "build.py", layout], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return f"oci:{done.stdout.strip()}"


class Pods:
    """Containers of the manifests on one node, by podman instead of the kubelet."""

    def __init__(self, node: Node, image: str) -> None:
        self.node = node
        Podman(node)
        self._image = self._podman("pull", "--quiet", image).strip()
        documents = yaml.safe_load_all((DEPLOY / "manifests" / "dragonfly.yaml").read_text())
        self._objects: dict[str, Any] = {each["kind"]: each for each in documents}
        for name, text in self._objects["ConfigMap"]["data"].items():
            node.write(f"{node.home}/config/{name}", text)

    def run(self, kind: str, name: str, *more: str, args: list[str] | None = None, detach: bool = False) -> str:
        """The container `name` of the workload `kind`; `more`: options of the program; its output."""
        pod = self._objects[kind]["spec"]["template"]["spec"]
        (spec,) = [each for each in (*pod.get("initContainers", []), *pod["containers"]) if each["name"] == name]
        context = pod.get("securityContext", {}) | spec["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        options = ["--network=host", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"]
        options += [f"--user={context['runAsUser']}", f"--name={name}", *(["--detach"] if detach else ["--rm"])]
        for mount in spec["volumeMounts"]:
            options.append(f"--volume={self._volume(kind, mount['name'])}:{mount['mountPath']}")
        words = [word.replace("$(POD_IP)", self.node.ip).replace("$(HOST_IP)", self.node.ip) for word in spec["args"]]
        return self._podman("run", *options, self._image, *(args or words), *more)

    def end(self, name: str) -> None:
        self._podman("rm", "--force", "--time=10", name)

    def logs(self, name: str) -> str:
        done = self.node.run("podman", "logs", name, check=False)
        return done.stdout + done.stderr

    def _volume(self, kind: str, name: str) -> Path:
        node = self.node
        places = {
            "config": node.home / "config",
            "host-etc": Path("/etc"),
            "data": node.home / kind,
            "tmp": node.home / "tmp",
        }
        path = places[name]
        path.mkdir(exist_ok=True)
        if name == "tmp" or (name, kind) == ("data", "StatefulSet"):
            path.chmod(0o777)  # as fsGroup does for the supernode's volume
        return path

    def _podman(self, *args: str) -> str:
        done = self.node.run("podman", "--cgroup-manager=cgroupfs", *args)
        return done.stdout + done.stderr


def test_an_image_is_pulled_through_the_containers_of_the_manifests(
    world: World, storage: Path, images: dict[str, Image], image: str
) -> None:
    registry, tool = world.registry(storage), images["tool"]
    node = world.node("pod")
    node.knows(**{"dragonfly-supernode-0.dragonfly-supernode.dragonfly.svc": node.ip})
    pods, containerd = Pods(node, image), Containerd(node)
    pods.run("StatefulSet", "supernode", detach=True)
    wait_for(lambda: http_status(node, f"http://127.0.0.1:{CONTROL}/healthz") == 200, "the supernode's health")
    assert "wrote /etc/containerd/certs.d/_default/hosts.toml" in pods.run("DaemonSet", "setup")
    assert "nothing to change" in pods.run("DaemonSet", "setup")
    pods.run("DaemonSet", "dfdaemon", "--map", f"{registry.host}={registry.url}", detach=True)
    wait_for(lambda: http_status(node, f"http://127.0.0.1:{MIRROR}/healthz") == 200, "the daemon's health")
    wait_for(lambda: "supernode.connected" in pods.logs("dfdaemon"), "the daemon's session")
    reference = f"{registry.host}/{tool.name}:{tool.tag}"
    containerd.pull(reference)
    assert registry.fetchers() == {"dragonfly"}
    undo = ["setup", "containerd", "--undo", "--root=/host", "--data-dir=/data"]
    assert "removed /etc/containerd/certs.d/_default/hosts.toml" in pods.run("DaemonSet", "setup", args=undo)
    for name in ("dfdaemon", "supernode"):
        pods.end(name)
    containerd.ctr("images", "rm", "--sync", reference)
    registry.mark()
    containerd.pull(reference, "--plain-http")
    assert registry.fetchers() == {"containerd"}
