"""docker: a P2P domain with the daemon's CA (dockerd reads certs.d at each pull), or a mirror of Docker Hub."""

from __future__ import annotations

import json
from typing import Any

from dragonfly.daemon.runtimes.plan import Change, Host, Plan
from dragonfly.daemon.runtimes.wanted import DOCKER_HUB, Wanted, hosts_file
from dragonfly.errors import UsageError

__all__ = ["plan"]

_DAEMON_JSON = "/etc/docker/daemon.json"


def plan(host: Host, wanted: Wanted) -> Plan:
    """UsageError where daemon.json is not what dockerd could read either."""
    others = [name for name in wanted.registries if name != DOCKER_HUB]
    if others:
        raise UsageError(
            "docker mirrors Docker Hub only",
            subject=", ".join(others),
            advice=f"give it a P2P domain: --domain {others[0].partition(':')[0]}.p2p={others[0]}",
        )
    changes, notes, restart = [], [], ""
    if wanted.domains:
        before = host.text("/etc/hosts")
        after = hosts_file(before, wanted.domains)
        changes.append(Change("/etc/hosts", _bytes(before), _bytes(after)))
        for domain in wanted.domains:
            path = f"/etc/docker/certs.d/{domain}/ca.crt"
            changes.append(Change(path, host.read(path), wanted.ca.encode()))
            notes.append(f"pull as {domain}/NAME:TAG")
    if DOCKER_HUB in wanted.registries or not wanted.domains:
        change = _mirror(host, wanted)
        changes.append(change)
        if change.before != change.after:
            restart = "reload dockerd, containers go on running: systemctl reload docker"
    return Plan(runtime="docker", changes=tuple(changes), restart=restart, notes=tuple(notes))


def _mirror(host: Host, wanted: Wanted) -> Change:
    """Our URL as the first of registry-mirrors; everything else in daemon.json stays."""
    before = host.text(_DAEMON_JSON)
    tree = _parsed(before, str(host.path(_DAEMON_JSON)))
    mirrors = tree.get("registry-mirrors", [])
    if not isinstance(mirrors, list):
        raise UsageError("registry-mirrors is not a list", subject=str(host.path(_DAEMON_JSON)))
    url = f"http://{wanted.daemon}"
    if url in (str(mirror).rstrip("/") for mirror in mirrors):
        return Change(_DAEMON_JSON, _bytes(before), _bytes(before))
    tree["registry-mirrors"] = [url, *mirrors]
    return Change(_DAEMON_JSON, _bytes(before), (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode())


def _parsed(text: str | None, path: str) -> dict[str, Any]:
    try:
        tree = json.loads(text) if text and text.strip() else {}
    except json.JSONDecodeError as error:
        raise UsageError("not JSON", subject=f"{path}, line {error.lineno}", advice=f"{error.msg}; mend it") from None
    if not isinstance(tree, dict):
        raise UsageError("not a JSON object", subject=path, advice="mend it")
    return tree


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
