"""The chart: helm's judgement, and whether what it renders fits the product."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dragonfly.config.load import load
from dragonfly.config.schema import DAEMON, SUPERNODE

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "dragonfly"
MANIFESTS = CHART.parents[1] / "manifests" / "dragonfly.yaml"
#: `make helm` builds it beside the interpreter.
HELM = shutil.which("helm", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
needs_helm = pytest.mark.skipif(HELM is None, reason="helm is not here: make helm (needs Go)")
# A helm that `go install` built takes Kubernetes to be 1.20.
KUBE = ["--kube-version", "1.30.0"]
REDIS = ["--set", "supernode.replicas=3,supernode.config.state=redis://redis:6379/0"]
EXTRAS = ["--set", "serviceMonitor.enabled=true,networkPolicy.enabled=true"]
PROMETHEUS = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "several": {"supernode": {"replicas": 3, "config": {"state": "redis://redis:6379/0"}, "nodeSelector": {"a": "b"}}},
    "extras": {
        "serviceMonitor": {"enabled": True},
        "networkPolicy": {"enabled": True, "alsoFrom": [PROMETHEUS]},
        "imagePullSecrets": [{"name": "pull"}],
    },
    "secrets": {
        "supernode": {"replicas": 2, "existingSecret": "s", "priorityClassName": "p", "storage": {"className": "ssd"}},
        "daemon": {"existingSecret": "d", "tolerations": [], "hostDataDir": "/srv/dragonfly"},
    },
    "domain": {
        "daemon": {
            "config": {
                "listen": "127.0.0.1:7001", "tls_listen": "127.0.0.1:443", "peer_listen": "0.0.0.0:7002",
                "map": ["images.p2p=https://r.example.com"],
            },
            "setup": {"runtime": "crio", "domains": ["images.p2p=r.example.com"]},
        }
    },
    "undo": {"daemon": {"setup": {"undo": True, "registries": ["r.example.com"]}}},
    "bare": {"daemon": {"setup": {"enabled": False}}},
}  # fmt: skip
#: Oldest and newest that we say to run on.
KUBERNETES = ["1.26", "1.34"]


def helm(*args: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *args], capture_output=True, text=True)


def render(*args: str) -> list[dict[str, Any]]:
    done = helm("template", "dragonfly", str(CHART), "--namespace", "p2p", *KUBE, *args)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def one(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def written(values: dict[str, Any], folder: Path) -> list[str]:
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    return ["--values", str(folder / "values.yaml")]


def fits(objects: list[dict[str, Any]], version: str) -> None:
    """Kubernetes' own schema: every field known, none missing, each of its type."""
    for each in objects:
        if each["apiVersion"] != "monitoring.coreos.com/v1":  # not Kubernetes' own
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_plain_manifests_fit_kubernetes_schema(version: str) -> None:
    objects = list(yaml.safe_load_all(MANIFESTS.read_text()))
    fits(objects, version)
    assert {each["kind"] for each in objects} >= {"StatefulSet", "DaemonSet", "Service", "PodDisruptionBudget"}


def test_the_schema_is_one_that_finds_errors() -> None:
    (workload,) = [each for each in yaml.safe_load_all(MANIFESTS.read_text()) if each["kind"] == "DaemonSet"]
    workload["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        fits([workload], KUBERNETES[0])


@needs_helm
@pytest.mark.parametrize("name", VALUES)
def test_lint_finds_nothing_and_what_is_rendered_fits_kubernetes_schema(name: str, tmp_path: Path) -> None:
    values = written(VALUES[name], tmp_path)
    done = helm("lint", "--strict", str(CHART), *values)
    assert done.returncode == 0, done.stdout + done.stderr
    objects = render(*values)
    for version in KUBERNETES:
        fits(objects, version)


@needs_helm
def test_a_daemon_elsewhere_is_probed_and_told_of_where_it_is(tmp_path: Path) -> None:
    pod = one(render(*written(VALUES["domain"], tmp_path)), "DaemonSet")["spec"]["template"]["spec"]
    (daemon,) = pod["containers"]
    assert {daemon[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {7001}
    assert daemon["ports"] == [{"name": "pieces", "containerPort": 7002, "hostPort": 7002}]
    assert daemon["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}
    assert pod["initContainers"][0]["args"] == [
        "setup", "crio", "--root=/host", "--data-dir=/data", "--daemon=127.0.0.1:7001",
        "--domain=images.p2p=r.example.com",
    ]  # fmt: skip


@needs_helm
def test_the_set_up_is_taken_back_where_that_is_asked(tmp_path: Path) -> None:
    pod = one(render(*written(VALUES["undo"], tmp_path)), "DaemonSet")["spec"]["template"]["spec"]
    assert pod["initContainers"][0]["args"] == ["setup", "containerd", "--root=/host", "--data-dir=/data", "--undo"]


@needs_helm
def test_daemons_start_anew_when_the_supernodes_are_others() -> None:
    few, many = (one(render(*values), "DaemonSet")["spec"]["template"]["metadata"] for values in ([], REDIS))
    assert few["annotations"] != many["annotations"]


@needs_helm
def test_prometheus_reaches_what_the_service_monitor_names(tmp_path: Path) -> None:
    objects = render(*written(VALUES["extras"], tmp_path))
    selector, policy, service = one(objects, "ServiceMonitor"), one(objects, "NetworkPolicy"), one(objects, "Service")
    assert selector["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert selector["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    peers = policy["spec"]["ingress"][0]["from"]
    assert PROMETHEUS in peers


@needs_helm
@pytest.mark.parametrize("values", [[], REDIS, [*REDIS, *EXTRAS]], ids=["default", "redis", "all"])
def test_config_is_taken_by_the_programs(values: list[str], tmp_path: Path) -> None:
    data = one(render(*values), "ConfigMap")["data"]
    for command, name in ((SUPERNODE, "supernode.yaml"), (DAEMON, "dfdaemon.yaml")):
        (tmp_path / name).write_text(data[name])
        load(command, flags={}, file=tmp_path / name)
    assert len(yaml.safe_load(data["dfdaemon.yaml"])["supernode"]) == (3 if values else 1)


@needs_helm
def test_probes_and_ports_are_the_products() -> None:
    objects = render(*EXTRAS)
    supernode = one(objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    daemon = one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]
    assert {port["name"]: port["containerPort"] for port in supernode["ports"]} == {"control": 8002, "pieces": 8001}
    assert supernode["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "control"}
    assert daemon["readinessProbe"]["httpGet"] == {"host": "127.0.0.1", "path": "/healthz", "port": 65001}


@needs_helm
def test_every_container_is_confined() -> None:
    for each in render():
        pod = each.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@needs_helm
def test_several_supernodes_without_redis_are_refused() -> None:
    done = helm("template", str(CHART), *KUBE, "--set", "supernode.replicas=2")
    assert done.returncode != 0
    assert "redis" in done.stderr


@needs_helm
def test_an_unknown_value_is_refused() -> None:
    done = helm("template", str(CHART), *KUBE, "--set", "daemon.setup.runtme=docker")
    assert done.returncode != 0
    assert "runtme" in done.stderr


@needs_helm
def test_the_plain_manifests_are_current() -> None:
    done = helm("template", "dragonfly", str(CHART), "--namespace", "dragonfly", *KUBE)
    assert MANIFESTS.read_text() == done.stdout, "run `make deploy-check`"
