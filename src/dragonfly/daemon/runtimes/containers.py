"""podman, buildah, skopeo and CRI-O: a drop-in for registries.conf, which they read at each pull."""

from __future__ import annotations

import tomllib

from dragonfly.daemon.runtimes.plan import Change, Host, Plan
from dragonfly.daemon.runtimes.wanted import DOCKER_HUB, Wanted, hosts_file

__all__ = ["plan_crio", "plan_podman"]

_DROP_IN = "/etc/containers/registries.conf.d/50-dragonfly.conf"
_MAIN = "/etc/containers/registries.conf"
_HEAD = "# Written by `dragonfly setup`; taken back by `dragonfly setup --undo`.\n"


def plan_podman(host: Host, wanted: Wanted) -> Plan:
    return _plan(host, wanted, "podman", "")


def plan_crio(host: Host, wanted: Wanted) -> Plan:
    return _plan(host, wanted, "crio", "let CRI-O read it, containers go on running: systemctl reload crio")


def _plan(host: Host, wanted: Wanted, runtime: str, restart: str) -> Plan:
    """A registry with a P2P domain gets the domain as its mirror, any other the daemon's port."""
    by_registry = {registry: domain for domain, registry in wanted.domains.items() if registry}
    names = tuple(dict.fromkeys((*wanted.registries, *by_registry))) or (() if wanted.domains else (DOCKER_HUB,))
    before = host.text(_DROP_IN)
    changes, notes = [], []
    if names:
        text = _HEAD + "".join(_table(name, by_registry.get(name, ""), wanted.daemon) for name in names)
        changes.append(Change(_DROP_IN, None if before is None else before.encode(), text.encode()))
        notes += _clashes(host, names)
    plain = [name for name in names if name not in by_registry]
    if plain:
        notes.append(f"dfdaemon must know which registry is meant: --registry https://{_url_host(plain[0])}")
    if len(plain) > 1:
        notes.append("its port stands for one registry only: give the others a P2P domain, --domain DOMAIN=REGISTRY")
    if wanted.domains:
        old = host.text("/etc/hosts")
        new = hosts_file(old, wanted.domains)
        changes.append(Change("/etc/hosts", _bytes(old), _bytes(new)))
        for domain in wanted.domains:
            path = f"/etc/containers/certs.d/{domain}/ca.crt"
            changes.append(Change(path, host.read(path), wanted.ca.encode()))
    needed = any(change.before != change.after for change in changes)
    return Plan(runtime=runtime, changes=tuple(changes), restart=restart if needed else "", notes=tuple(notes))


def _table(name: str, domain: str, daemon: str) -> str:
    text = f'\n[[registry]]\nprefix = "{name}"\nlocation = "{name}"\n[[registry.mirror]]\n'
    return text + (f'location = "{domain}"\n' if domain else f'location = "{daemon}"\ninsecure = true\n')


def _clashes(host: Host, names: tuple[str, ...]) -> list[str]:
    """Tables of the same registry in the main file: the drop-in's wins as a whole."""
    try:
        tables = tomllib.loads(host.text(_MAIN) or "").get("registry", [])
    except tomllib.TOMLDecodeError:
        return [f"{_MAIN} is not TOML: podman will refuse it"]
    taken = {str(table.get("prefix") or table.get("location")) for table in tables if isinstance(table, dict)}
    return [
        f"{name} is also in {_MAIN}: the drop-in wins, what is said there does not hold"
        for name in names
        if name in taken
    ]


def _url_host(name: str) -> str:
    return "registry-1.docker.io" if name == DOCKER_HUB else name


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
