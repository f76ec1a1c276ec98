"""docker: a P2P domain with the daemon's CA (dockerd reads certs.d at each pull), or a mirror of Docker Hub."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import Change, Plan
from dragonfly.daemon.runtimes.wanted import DOCKER_HUB, HOSTS, Wanted, hosts_file
from dragonfly.errors import UsageError

__all__ = ["plan", "restart"]

_DAEMON_JSON = "/etc/docker/daemon.json"
#: Where dockerd's command line is written, on distributions with and without systemd.
_COMMAND_LINES = (
    "/usr/lib/systemd/system/docker.service",
    "/lib/systemd/system/docker.service",
    "/etc/systemd/system/docker.service",
    "/usr/lib/systemd/system/docker.service.d/*.conf",
    "/etc/systemd/system/docker.service.d/*.conf",
    "/etc/default/docker",
    "/etc/sysconfig/docker",
    "/etc/conf.d/docker",
)


def plan(host: Host, wanted: Wanted) -> Plan:
    """UsageError where daemon.json is not what dockerd could read, or will not be."""
    others = [name for name in wanted.registries if name != DOCKER_HUB]
    if others:
        raise UsageError(
            "docker mirrors Docker Hub only",
            subject=", ".join(others),
            advice=f"give it a P2P domain: --domain {others[0].partition(':')[0]}.p2p={others[0]}",
        )
    changes, notes = [], []
    if wanted.domains:
        before = host.text(HOSTS)
        after = hosts_file(before, wanted.names)
        changes.append(Change(HOSTS, _bytes(before), _bytes(after)))
        for domain in wanted.domains:
            path = f"/etc/docker/certs.d/{domain}/ca.crt"
            changes.append(Change(path, host.read(path), wanted.ca.encode()))
            notes.append(f"pull as {domain}/NAME:TAG")
        if before != after:
            notes.append("a dockerd that runs sees a new name after 5 s at most")
    if DOCKER_HUB in wanted.registries or not wanted.domains:
        changes.append(_mirror(host, wanted))
    return Plan(
        runtime="docker",
        changes=tuple(changes),
        restart=restart(change.path for change in changes if change.before != change.after),
        notes=tuple(notes),
        names=wanted.names,
        daemon=wanted.daemon,
    )


def restart(paths: Iterable[str]) -> str:
    """What dockerd needs after a change of these files."""
    reload = "reload dockerd, containers go on running: systemctl reload docker"
    return reload if _DAEMON_JSON in paths else ""


def _mirror(host: Host, wanted: Wanted) -> Change:
    """Our URL as the first of registry-mirrors; everything else in daemon.json stays."""
    before = host.text(_DAEMON_JSON)
    tree = _parsed(before, str(host.path(_DAEMON_JSON)))
    mirrors = tree.get("registry-mirrors", [])
    if not isinstance(mirrors, list):
        raise UsageError("registry-mirrors is not a list", subject=str(host.path(_DAEMON_JSON)))
    url, old = f"http://{wanted.daemon}", {f"http://{address}" for address in wanted.moved}
    kept = [mirror for mirror in mirrors if str(mirror).rstrip("/") not in old]
    here = url in (str(mirror).rstrip("/") for mirror in kept)
    if here and kept == mirrors:
        return Change(_DAEMON_JSON, _bytes(before), _bytes(before))
    _refuse_flag(host)
    tree["registry-mirrors"] = kept if here else [url, *kept]
    return Change(_DAEMON_JSON, _bytes(before), (json.dumps(tree, indent=2, ensure_ascii=False) + "\n").encode())


def _refuse_flag(host: Host) -> None:
    """dockerd does not start where the file and its command line both say something about mirrors."""
    for pattern in _COMMAND_LINES:
        for name in host.files(pattern):
            lines = (host.text(name) or "").splitlines()
            if any("--registry-mirror" in line for line in lines if not line.lstrip().startswith(("#", ";"))):
                raise UsageError(
                    "dockerd is started with --registry-mirror, and would not start with registry-mirrors, too",
                    subject=name,
                    advice=f"move the option to {_DAEMON_JSON} first",
                )


def _parsed(text: str | None, path: str) -> dict[str, Any]:
    try:
        tree = json.loads(text) if text and text.strip() else {}
    except json.JSONDecodeError as error:
        raise UsageError("not JSON", subject=f"{path}, line {error.lineno}", advice=f"{error.msg}; mend it") from None
    except RecursionError:
        raise UsageError("nested too deep", subject=path, advice="mend it") from None
    if not isinstance(tree, dict):
        raise UsageError("not a JSON object", subject=path, advice="mend it")
    return tree


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
