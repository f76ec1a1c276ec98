"""`dragonfly doctor` as it is called, and its checks on files of a temporary root."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from dragonfly.cli.doctor import command
from dragonfly.daemon.ca import CertificateAuthority
from dragonfly.daemon.doctor.finding import Finding
from dragonfly.daemon.doctor.machine import authority
from dragonfly.daemon.doctor.network import upstream_cure
from dragonfly.daemon.doctor.running import started_before
from dragonfly.daemon.doctor.runtimes import configured, means_docker_hub
from dragonfly.daemon.runtimes import containerd, containers, docker
from dragonfly.daemon.runtimes.choice import RUNTIMES
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import apply
from dragonfly.daemon.runtimes.wanted import Wanted

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
MAKERS = {"docker": docker.plan, "podman": containers.plan_podman, "crio": containers.plan_crio}


def test_no_daemon_is_bad_and_has_a_cure(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["--json", "--data-dir", str(tmp_path)], standalone_mode=False)
    first = json.loads(done.output.splitlines()[0])
    assert (first["check"], first["verdict"]) == ("daemon", "bad")
    assert "start dfdaemon" in first["cure"]
    assert done.return_value == 1


def look(host: Host, runtime: str, ca: str = CA) -> Finding:
    (found,) = configured(host, ["images.p2p"], ca, {65001}, [runtime])
    return found


@pytest.mark.parametrize("runtime", MAKERS)
def test_a_runtime_that_was_asked_for_must_trust_this_ca(tmp_path: Path, runtime: str) -> None:
    host = Host(tmp_path / "root")
    missing = look(host, runtime)
    assert missing.verdict == "bad"
    assert f"dragonfly setup {runtime}" in missing.cure
    wanted = Wanted(domains={"images.p2p": "r.example.com"}, ca=CA)
    apply(host, MAKERS[runtime](host, wanted), tmp_path / "setup")
    assert look(host, runtime).verdict == "good"
    other = look(host, runtime, CA.replace("MIIB", "MIIC"))
    assert other.verdict == "bad"
    assert "another CA" in other.detail


def test_a_key_that_others_may_read_is_bad(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path)
    assert [found.verdict for found in authority(tmp_path / "ca.crt")] == ["good"]
    (tmp_path / "ca.key").chmod(0o644)
    assert [found.verdict for found in authority(tmp_path / "ca.crt")] == ["good", "bad"]


def test_a_file_that_no_runtime_could_read_is_a_finding(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write("/etc/docker/daemon.json", b"\xff\xfe")
    found = look(host, "docker")
    assert (found.verdict, "not a text file" in found.detail, bool(found.cure)) == ("bad", True, True)


@pytest.mark.parametrize("text", ["[]", "{", '{"registry-mirrors": null}'])
def test_any_daemon_json_is_looked_at(tmp_path: Path, text: str) -> None:
    host = Host(tmp_path)
    host.write("/etc/docker/daemon.json", text.encode())
    assert look(host, "docker").verdict == "bad"


def test_hosts_toml_is_looked_for_where_containerd_looks(tmp_path: Path) -> None:
    host = Host(tmp_path)
    cri = '[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/srv/certs.d"\n'
    host.write("/etc/containerd/config.toml", f"version = 2\n{cri}".encode())
    assert look(host, "containerd").verdict == "bad"
    apply(host, containerd.plan(host, Wanted()), tmp_path / "setup")
    assert host.read("/srv/certs.d/_default/hosts.toml")
    assert look(host, "containerd").verdict == "good"


@pytest.mark.parametrize(
    ("runtime", "wanted", "meant"),
    [
        ("docker", Wanted(), True),
        ("docker", Wanted(domains={"images.p2p": "r.example.com"}, ca=CA), False),
        ("containerd", Wanted(), True),
        ("containerd", Wanted(registries=("docker.io",)), True),
        ("containerd", Wanted(registries=("r.example.com",)), False),
        ("podman", Wanted(), True),
        ("podman", Wanted(registries=("r.example.com",)), False),
    ],
)
def test_docker_hub_matters_where_a_runtime_asks_for_it(
    tmp_path: Path, runtime: str, wanted: Wanted, meant: bool
) -> None:
    host = Host(tmp_path / "root")
    apply(host, RUNTIMES[runtime].plan(host, wanted), tmp_path / "setup")
    assert means_docker_hub(host, {65001}) is meant


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("its certificate is signed by an unknown authority", "--upstream-ca"),
        ("the source's name can't be resolved", "DNS"),
        ("connection refused", "firewall"),
        ("something new", "right URL"),
    ],
)
def test_the_cure_follows_what_the_daemon_said(said: str, cure: str) -> None:
    assert cure in upstream_cure("https://r.example.com", said)


def test_a_file_that_is_newer_than_its_process_was_not_read(tmp_path: Path) -> None:
    program = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[0].partition("(")[2]
    file = tmp_path / "config"
    file.write_text("")
    os.utime(file, (0, 0))
    assert not started_before(program, file)
    os.utime(file, (0, time.time() + 60))
    assert started_before(program, file)
    assert not started_before("no-such-program", file)
    assert not started_before(program, tmp_path / "absent")
