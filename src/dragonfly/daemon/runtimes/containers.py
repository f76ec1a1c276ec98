"""podman, buildah, skopeo and CRI-O: a drop-in for registries.conf, which they read at each pull.

A drop-in's table of a registry takes the place of the one in the main file as a whole, so ours repeats
what the main file says, behind our mirror.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import Change, Plan
from dragonfly.daemon.runtimes.toml import parsed
from dragonfly.daemon.runtimes.wanted import DOCKER_HUB, HOSTS, Wanted, hosts_file
from dragonfly.errors import UsageError

__all__ = ["plan_crio", "plan_podman", "restart_crio", "restart_podman"]

_DROP_INS = "/etc/containers/registries.conf.d"
_DROP_IN = f"{_DROP_INS}/50-dragonfly.conf"
_MAIN = "/etc/containers/registries.conf"
_HEAD = "# Written by `dragonfly setup`; taken back by `dragonfly setup --undo`.\n"


def plan_podman(host: Host, wanted: Wanted) -> Plan:
    """UsageError where the registries.conf could not be read together with ours."""
    return _plan(host, wanted, "podman")


def plan_crio(host: Host, wanted: Wanted) -> Plan:
    """As `plan_podman`: the same files."""
    return _plan(host, wanted, "crio")


def restart_podman(paths: Iterable[str]) -> str:
    """Nothing: no process is there that could be restarted."""
    return ""


def restart_crio(paths: Iterable[str]) -> str:
    """What CRI-O needs after a change of these files."""
    return "let CRI-O read it, containers go on running: systemctl reload crio" if list(paths) else ""


def _plan(host: Host, wanted: Wanted, runtime: str) -> Plan:
    """A registry with a P2P domain gets the domain as its mirror, any other the daemon's port."""
    by_registry = {registry: domain for domain, registry in wanted.domains.items() if registry}
    names = tuple(dict.fromkeys((*wanted.registries, *by_registry))) or (() if wanted.domains else (DOCKER_HUB,))
    changes, notes = [], []
    if names:
        there = _tables(host)
        text = _HEAD + "".join(_table(name, there.get(name, {}), by_registry.get(name, ""), wanted) for name in names)
        changes.append(Change(_DROP_IN, host.read(_DROP_IN), text.encode()))
        notes += _covered(host, names)
    plain = [name for name in names if name not in by_registry]
    if plain:
        notes.append(f"dfdaemon must know which registry is meant: --registry {wanted.url(plain[0])}")
    if len(plain) > 1:
        notes.append("its port stands for one registry only: give the others a P2P domain, --domain DOMAIN=REGISTRY")
    if wanted.domains:
        old = host.text(HOSTS)
        new = hosts_file(old, wanted.names)
        changes.append(Change(HOSTS, _bytes(old), _bytes(new)))
        for domain in wanted.domains:
            path = f"/etc/containers/certs.d/{domain}/ca.crt"
            changes.append(Change(path, host.read(path), wanted.ca.encode()))
    needed = [change.path for change in changes if change.before != change.after]
    return Plan(
        runtime=runtime,
        changes=tuple(changes),
        restart=(restart_crio if runtime == "crio" else restart_podman)(needed),
        notes=tuple(notes),
        names=wanted.names,
        daemon=wanted.daemon,
    )


def _tables(host: Host) -> dict[str, dict[str, Any]]:
    """The main file's, by what they are for."""
    tree = parsed(host.text(_MAIN) or "", _MAIN)
    if "registries" in tree:
        raise UsageError(
            "a registries.conf of version 1, with which no drop-in is read",
            subject=_MAIN,
            advice="write it in version 2 first, with [[registry]]: see registries.conf(5)",
        )
    found = tree.get("registry", [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UsageError("registry is not a list of tables", subject=_MAIN, advice="write [[registry]]")
    return {_subject(each): each for each in found}


def _table(name: str, there: dict[str, Any], domain: str, wanted: Wanted) -> str:
    """Our mirror first, then what the main file says of this registry."""
    own = {"prefix": name, "location": name} | ({"insecure": True} if name in wanted.plain else {})
    text = f"\n[[registry]]\n{_lines(own | there | {'prefix': name})}[[registry.mirror]]\n"
    text += _lines({"location": domain} if domain else {"location": wanted.daemon, "insecure": True})
    mirrors = there.get("mirror", [])
    for mirror in mirrors if isinstance(mirrors, list) else []:
        text += f"[[registry.mirror]]\n{_lines(mirror)}" if isinstance(mirror, dict) else ""
    return text


def _lines(values: dict[str, Any]) -> str:
    """Strings and truth values: other kinds registries.conf does not have. JSON's are TOML's, too."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items() if isinstance(value, (str, bool)))


def _covered(host: Host, names: tuple[str, ...]) -> list[str]:
    """Registries of which a drop-in that is read after ours has the last word."""
    notes = []
    for file in host.files(f"{_DROP_INS}/*.conf"):
        tables = parsed(host.text(file) or "", file).get("registry", []) if file > _DROP_IN else []
        taken = [_subject(each) for each in tables if isinstance(each, dict)]
        notes += [
            f"{name} is also in {file}, which is read later: ours does not hold" for name in names if name in taken
        ]
    return notes


def _subject(registry: dict[str, Any]) -> str:
    """What a [[registry]] is for."""
    return str(registry.get("prefix") or registry.get("location"))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
