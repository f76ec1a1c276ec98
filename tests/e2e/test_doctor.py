"""`dragonfly doctor` on nodes where something on the way is broken: what it says, and that its cure is the cure."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from e2e.certificates import Authority
from e2e.nodes import Node, wait_for
from e2e.origins import Nginx
from e2e.runtimes import Containerd, Docker
from e2e.world import COMMANDS, Daemon, World

pytestmark = pytest.mark.needs("nginx")

_LATE = """
import http.server, time
class Late(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return super().date_time_string(time.time() - 600)
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
http.server.HTTPServer(("0.0.0.0", 8200), Late).serve_forever()
"""
Findings = dict[str, dict[str, str]]


def doctor(node: Node, *options: str) -> Findings:
    done = node.run(
        COMMANDS / "dragonfly", "doctor", "--json", "--data-dir", node.home / "dragonfly", *options, check=False
    )
    assert done.stderr == ""
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == (1 if any(found["verdict"] == "bad" for found in findings) else 0)
    assert all(found["cure"] for found in findings if found["verdict"] == "bad")
    return {found["check"]: found for found in findings}


def bad(found: Findings, check: str) -> str:
    """What it says of what must be bad, and of its cure."""
    assert found[check]["verdict"] == "bad", found
    return f"{found[check]['detail']} -> {found[check]['cure']}"


def test_each_sick_registry_and_name_is_told_apart(world: World) -> None:
    origin, node = world.node("origins"), world.node("names")
    authority = Authority(origin.home / "ca")
    site = origin.home / "site"
    Nginx(origin, site, port=8500, name="fails", extra="location /v2/ { return 503; }")
    Nginx(origin, site, port=8404, name="web")
    Nginx(origin, site, port=8401, name="asks", extra="location /v2/ { return 401; }")
    Nginx(origin, site, port=8443, name="unknown", tls=authority.issue(origin.ip))
    origin.start("late", sys.executable, "-c", _LATE)
    wait_for(lambda: origin.listens(8200), "the late registry")
    urls = {
        "fails.p2p": f"http://{origin.ip}:8500",
        "web.p2p": f"http://{origin.ip}:8404",
        "asks.p2p": f"http://{origin.ip}:8401",
        "tls.p2p": f"https://{origin.ip}:8443",
        "late.p2p": f"http://{origin.ip}:8200",
        "closed.p2p": f"http://{origin.ip}:9",
        "nowhere.p2p": "https://registry.invalid",
    }
    node.knows(**dict.fromkeys(urls, "127.0.0.1") | {"tls.p2p": origin.ip})
    hosts = node.path("/etc/hosts")
    hosts.write_text(hosts.read_text().replace("127.0.0.1 web.p2p\n", ""))
    maps = [word for name, url in urls.items() for word in ("--map", f"{name}={url}")]
    daemon = world.daemons([node], None, "--tls-listen", "127.0.0.1:443", *maps)[0]
    found = doctor(node)
    assert "503" in bad(found, f"registry {urls['fails.p2p']}")
    assert "is this a registry?" in bad(found, f"registry {urls['web.p2p']}")
    assert found[f"registry {urls['asks.p2p']}"]["verdict"] == "good"
    assert "--upstream-ca" in bad(found, f"registry {urls['tls.p2p']}")
    assert found[f"registry {urls['late.p2p']}"]["verdict"] == "good"
    assert found["clock"]["detail"].startswith(("600 s", "601 s", "602 s"))
    assert "NTP" in found["clock"]["cure"]
    assert "does it run?" in bad(found, f"registry {urls['closed.p2p']}")
    assert "DNS" in bad(found, f"registry {urls['nowhere.p2p']}")
    assert "echo 127.0.0.1 web.p2p" in bad(found, "name web.p2p")
    assert origin.ip in bad(found, "name tls.p2p")
    # The cures are cures.
    daemon.process.stop()
    hosts.write_text(f"127.0.0.1 localhost {' '.join(urls)}\n")
    daemon = Daemon(node, None, ["--tls-listen", "127.0.0.1:443", "--upstream-ca", str(authority.certificate), *maps])
    daemon.wait()
    found = doctor(node)
    for check in ("name web.p2p", "name tls.p2p", "TLS web.p2p:443"):
        assert found[check]["verdict"] == "good", found
    assert "--upstream-ca" not in json.dumps(found)


def test_ports_disk_and_supernode(world: World) -> None:
    node = world.node("ports")
    node.knows(**{"images.p2p": "127.0.0.1"})
    data = node.home / "dragonfly"
    node.run("mkdir", "-p", data)
    node.run("mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", data)
    options = ("--supernode", "127.0.0.2:8002", "--map", "images.p2p=http://127.0.0.1:9")
    (daemon,) = world.daemons([node], None, *options)
    other = node.start("other", sys.executable, "-m", "http.server", "443", "--bind", "127.0.0.1")
    wait_for(lambda: node.listens(443), "another program at 443")
    found = doctor(node)
    assert "see below" in bad(found, "supernode")
    assert "8002" in bad(found, "supernode http://127.0.0.2:8002")
    assert found["disk"]["verdict"] == "good", found
    assert "TLS images.p2p:443" not in found, "the daemon takes TLS at its own port"
    assert found["TLS images.p2p:65001"]["verdict"] == "good"
    daemon.process.stop()
    other.stop()

    (daemon,) = world.daemons([node], None, *options, "--tls-listen", "127.0.0.1:443")
    node.run("iptables", "-A", "INPUT", "-i", "lo", "-p", "tcp", "--dport", "65001", "-j", "REJECT")
    node.run("iptables", "-A", "INPUT", "-i", "lo", "-p", "tcp", "--dport", "443", "-j", "REJECT")
    found = doctor(node)
    assert "firewall" in bad(found, "port")
    assert "--tls-listen 127.0.0.1:443" in bad(found, "TLS images.p2p:443")
    node.run("iptables", "-F", "INPUT")
    assert doctor(node)["port"]["verdict"] == "good"

    node.run("dd", "if=/dev/zero", f"of={data}/filler", "bs=1M", check=False)
    assert "free some" in bad(doctor(node), "disk")
    node.run("rm", f"{data}/filler")
    daemon.process.stop()
    node.run("mount", "-o", "remount,ro", data)
    found = doctor(node)
    assert "start dfdaemon" in bad(found, "daemon")
    assert "read-only" in bad(found, "disk")


@pytest.mark.needs("dockerd", "containerd")
def test_a_runtime_that_has_not_read_its_configuration_is_named(world: World) -> None:
    node = world.node("stale")
    docker, containerd = Docker(node), Containerd(node)
    world.daemons([node], None)
    (folder := Path(node.path("/etc/docker"))).mkdir(exist_ok=True)
    for runtime in ("docker", "containerd"):
        node.run(COMMANDS / "dragonfly", "setup", runtime, "--data-dir", node.home / "dragonfly")
    found = doctor(node, "--runtime", "docker", "--runtime", "containerd")
    assert "reload docker" in bad(found, "docker")
    assert found["containerd"]["verdict"] == "good", "its CRI is disabled: nothing was changed in config.toml"
    os.kill(docker.process.pid, signal.SIGHUP)
    wait_for(lambda: doctor(node, "--runtime", "docker")["docker"]["verdict"] == "good", "the mirror in dockerd")
    (folder / "daemon.json").write_text("{")
    assert "not JSON" in bad(doctor(node, "--runtime", "docker"), "docker")
    config = node.path("/etc/containerd/config.toml")
    os.utime(config, (time.time(), time.time() + 5))  # what runs for a second only is given the benefit of the doubt
    assert "restart containerd" in bad(doctor(node, "--runtime", "containerd"), "containerd")
    assert containerd.process.alive
