"""Which container runtimes are here, and whether they are told of the daemon."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dragonfly.daemon.doctor.finding import Finding, bad, good, note
from dragonfly.daemon.runtimes.host import Host

__all__ = ["configured"]


def configured(
    host: Host, domains: list[str], ca_pem: str, ports: set[int], asked: Sequence[str] = ()
) -> Iterator[Finding]:
    """`ports`: where the daemon listens; `domains`: its P2P domains; `asked`: runtimes that must be set up."""
    if "docker" in asked or (not asked and shutil.which("dockerd")):
        yield from _docker(host, domains, ca_pem, ports, "docker" in asked)
    if "containerd" in asked or (not asked and shutil.which("containerd")):
        yield from _containerd(host, ports, "containerd" in asked)
    for runtime in ("podman", "crio"):
        if runtime in asked or (not asked and shutil.which(runtime)):
            yield from _containers(host, runtime, domains, ca_pem, ports, runtime in asked)


def _docker(host: Host, domains: list[str], ca_pem: str, ports: set[int], asked: bool) -> Iterator[Finding]:
    ways = []
    for folder in _folders(host, "/etc/docker/certs.d"):
        name = folder.name.partition(":")[0]
        if name in domains and (folder / "ca.crt").is_file():
            if (folder / "ca.crt").read_text(errors="replace").strip() != ca_pem.strip():
                cure = f"dragonfly setup docker --domain {folder.name}"
                yield bad("docker", f"{folder}/ca.crt is another CA than the daemon's", cure)
                return
            ways.append(f"{folder.name} is trusted")
    try:
        mirrors = json.loads(host.text("/etc/docker/daemon.json") or "{}").get("registry-mirrors", [])
    except (ValueError, AttributeError):
        yield bad("docker", "/etc/docker/daemon.json is not JSON", "mend it: dockerd will not start with it")
        return
    ways += [f"mirror {mirror}" for mirror in mirrors if _ours(str(mirror), ports)]
    yield _verdict("docker", ways, asked)


def _containerd(host: Host, ports: set[int], asked: bool) -> Iterator[Finding]:
    ways = [
        f"{folder.name}"
        for folder in _folders(host, "/etc/containerd/certs.d")
        if (folder / "hosts.toml").is_file() and _ours((folder / "hosts.toml").read_text(errors="replace"), ports)
    ]
    yield _verdict("containerd", ways, asked)


def _containers(
    host: Host, runtime: str, domains: list[str], ca_pem: str, ports: set[int], asked: bool
) -> Iterator[Finding]:
    ways = []
    for folder in _folders(host, "/etc/containers/certs.d"):
        ca = folder / "ca.crt"
        known = folder.name.partition(":")[0] in domains and ca.is_file()
        if known and ca.read_text(errors="replace").strip() != ca_pem.strip():
            cure = f"dragonfly setup {runtime} --domain {folder.name}=REGISTRY"
            yield bad(runtime, f"{ca} is another CA than the daemon's", cure)
            return
    files = [host.path("/etc/containers/registries.conf")]
    drop_ins = host.path("/etc/containers/registries.conf.d")
    files += sorted(drop_ins.glob("*.conf")) if drop_ins.is_dir() else []
    for file in files:
        text = file.read_text(errors="replace") if file.is_file() else ""
        if _ours(text, ports) or any(f'"{name}' in text for name in domains):
            ways.append(file.name)
    yield _verdict(runtime, ways, asked)


def _verdict(runtime: str, ways: list[str], asked: bool) -> Finding:
    if ways:
        return good(runtime, "; ".join(ways))
    return (bad if asked else note)(runtime, "pulls past the daemon", f"dragonfly setup {runtime}")


def _folders(host: Host, name: str) -> list[Path]:
    folder = host.path(name)
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _ours(text: str, ports: set[int]) -> bool:
    return any(f"{host}:{port}" in text for host in ("127.0.0.1", "localhost", "[::1]") for port in ports)
