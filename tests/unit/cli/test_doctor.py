"""`dragonfly doctor` as it is called, and its checks on files of a temporary root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from dragonfly.cli.doctor import command
from dragonfly.daemon.ca import CertificateAuthority
from dragonfly.daemon.doctor.finding import Finding
from dragonfly.daemon.doctor.machine import authority
from dragonfly.daemon.doctor.runtimes import configured
from dragonfly.daemon.runtimes import containers, docker
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
