"""Which container runtimes are here, and whether they are told of the daemon."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dragonfly.daemon.doctor.finding import Finding, bad, good, note
from dragonfly.daemon.doctor.running import docker_mirrors, started_before
from dragonfly.daemon.runtimes import containerd
from dragonfly.daemon.runtimes.cri_config import CONFIG
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.wanted import DOCKER_HUB
from dragonfly.errors import UsageError

__all__ = ["configured", "means_docker_hub"]


def configured(
    host: Host, domains: list[str], ca_pem: str, ports: set[int], asked: Sequence[str] = ()
) -> Iterator[Finding]:
    """`ports`: where the daemon listens; `domains`: its P2P domains; `asked`: runtimes that must be set up."""
    looks: dict[str, Callable[[bool], Iterator[Finding]]] = {
        "docker": lambda must: _docker(host, domains, ca_pem, ports, must),
        "containerd": lambda must: _containerd(host, ports, must),
        "podman": lambda must: _containers(host, "podman", domains, ca_pem, ports, must),
        "crio": lambda must: _containers(host, "crio", domains, ca_pem, ports, must),
    }
    for runtime, look in looks.items():
        program = "dockerd" if runtime == "docker" else runtime
        if runtime in asked or (not asked and shutil.which(program)):
            try:
                yield from look(runtime in asked)
            except UsageError as error:
                yield bad(runtime, str(error), f"mend it, then: dragonfly setup {runtime}")


def means_docker_hub(host: Host, ports: set[int]) -> bool:
    """Some runtime asks the daemon for Docker Hub: by a mirror, for all registries, or for this one."""
    names = ["/etc/docker/daemon.json", *host.files("/etc/containers/registries.conf.d/*.conf")]
    names += [f"{folder}/{name}/hosts.toml" for folder in containerd.folders(host) for name in ("_default", DOCKER_HUB)]
    for name in names:
        path = host.path(name)
        text = path.read_text(errors="replace") if path.is_file() else ""
        if _ours(text, ports) and (not name.endswith(".conf") or f'"{DOCKER_HUB}"' in text):
            return True
    return False


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
        mirrors = json.loads(host.text("/etc/docker/daemon.json") or "{}").get("registry-mirrors") or ()
    except (ValueError, AttributeError):
        yield bad("docker", "/etc/docker/daemon.json is not JSON", "mend it: dockerd will not start with it")
        return
    ours = [str(mirror).rstrip("/") for mirror in mirrors if _ours(str(mirror), ports)]
    used = docker_mirrors() if ours else None
    if used is not None and not {mirror.rstrip("/") for mirror in used} & set(ours):
        yield bad("docker", f"dockerd has not read yet that {ours[0]} is its mirror", "systemctl reload docker")
        return
    yield _verdict("docker", [*ways, *(f"mirror {mirror}" for mirror in ours)], asked)


def _containerd(host: Host, ports: set[int], asked: bool) -> Iterator[Finding]:
    ways = [
        folder.name
        for parent in containerd.folders(host)
        for folder in _folders(host, parent)
        if (folder / "hosts.toml").is_file() and _ours((folder / "hosts.toml").read_text(errors="replace"), ports)
    ]
    if ways and started_before("containerd", host.path(CONFIG)):
        yield bad(
            "containerd", f"{CONFIG} was changed after containerd had started", "systemctl restart containerd, or "
            "restart containerd as you started it; containers go on running",
        )  # fmt: skip
        return
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
