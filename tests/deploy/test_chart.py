"""The chart: helm's judgement, and whether what it renders fits the product."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dragonfly.config.load import load
from dragonfly.config.schema import DAEMON, SUPERNODE

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "dragonfly"
pytestmark = pytest.mark.skipif(
    shutil.which("helm") is None, reason="helm is not installed: go install helm.sh/helm/v3/cmd/helm@v3.14.4"
)
# A helm that `go install` built takes Kubernetes to be 1.20.
KUBE = ["--kube-version", "1.30.0"]
REDIS = ["--set", "supernode.replicas=3,supernode.config.state=redis://redis:6379/0"]
EXTRAS = ["--set", "serviceMonitor.enabled=true,networkPolicy.enabled=true"]


def helm(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *args], capture_output=True, text=True)


def render(*args: str) -> list[dict[str, Any]]:
    done = helm("template", "dragonfly", str(CHART), "--namespace", "p2p", *KUBE, *args)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def test_lint_finds_nothing() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", [[], REDIS, [*REDIS, *EXTRAS]], ids=["default", "redis", "all"])
def test_config_is_taken_by_the_programs(values: list[str], tmp_path: Path) -> None:
    data = one(render(*values), "ConfigMap")["data"]
    for command, name in ((SUPERNODE, "supernode.yaml"), (DAEMON, "dfdaemon.yaml")):
        (tmp_path / name).write_text(data[name])
        load(command, flags={}, file=tmp_path / name)
    assert len(yaml.safe_load(data["dfdaemon.yaml"])["supernode"]) == (3 if values else 1)


def test_probes_and_ports_are_the_products() -> None:
    objects = render(*EXTRAS)
    supernode = one(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    daemon = one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in supernode["ports"]} == {"control": 8002, "pieces": 8001}
    assert supernode["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "control"}
    assert daemon["readinessProbe"]["httpGet"] == {"host": "127.0.0.1", "path": "/healthz", "port": 65001}


def test_every_container_is_confined() -> None:
    for each in render():
        pod = each.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_several_supernodes_without_redis_are_refused() -> None:
    done = helm("template", str(CHART), *KUBE, "--set", "supernode.replicas=2")
    assert done.returncode != 0
    assert "redis" in done.stderr


def test_an_unknown_value_is_refused() -> None:
    done = helm("template", str(CHART), *KUBE, "--set", "daemon.setup.runtme=docker")
    assert done.returncode != 0
    assert "runtme" in done.stderr


def test_the_plain_manifests_are_current() -> None:
    done = helm("template", "dragonfly", str(CHART), "--namespace", "dragonfly", *KUBE)
    assert (CHART.parents[1] / "manifests" / "dragonfly.yaml").read_text() == done.stdout, "run `make deploy-check`"
