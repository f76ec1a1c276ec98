"""containerd: a hosts.toml per registry (or for all), which it reads at each pull.

Only the CRI's `config_path` needs a restart, where it is not set yet. Not all of containerd 2 have it by default.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from dragonfly.daemon.runtimes.plan import Change, Host, Plan
from dragonfly.daemon.runtimes.wanted import DOCKER_HUB, Wanted
from dragonfly.errors import UsageError

__all__ = ["plan"]

_CONFIG = "/etc/containerd/config.toml"
_CERTS = "/etc/containerd/certs.d"
#: The CRI plugin's tables, by the version of the configuration.
_TABLES = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
_FIRST_HOST = re.compile(r"^[ \t]*\[host\b", re.MULTILINE)


def plan(host: Host, wanted: Wanted) -> Plan:
    """UsageError where the configuration is not TOML, or uses what can't go together with hosts.toml."""
    config, folder = _config_path(host)
    names = wanted.registries or ("_default",)
    changes = [_hosts(host, folder, name, wanted) for name in names]
    restart = ""
    if config is not None:
        changes.append(config)
        restart = "restart containerd once, containers go on running: systemctl restart containerd"
    notes = (f"nerdctl finds it by itself; ctr: ctr images pull --hosts-dir {folder} …",)
    return Plan(runtime="containerd", changes=tuple(changes), restart=restart, notes=notes)


def _hosts(host: Host, folder: str, name: str, wanted: Wanted) -> Change:
    path = f"{folder}/{name}/hosts.toml"
    before = host.text(path)
    block = f'[host."http://{wanted.daemon}"]\n  capabilities = ["pull", "resolve"]\n'
    if before is None:
        server = "" if name == "_default" else f'server = "https://{_server(name)}"\n\n'
        return Change(path, None, (server + block).encode())
    if f"http://{wanted.daemon}" in (_toml(before, path).get("host") or {}):
        return Change(path, before.encode(), before.encode())
    # The first that answers serves: ours before all that are there.
    first = _FIRST_HOST.search(before)
    at = first.start() if first else len(before)
    head = before[:at] if not before[:at] or before[:at].endswith("\n") else before[:at] + "\n"
    return Change(path, before.encode(), (head + block + ("\n" if first else "") + before[at:]).encode())


def _server(name: str) -> str:
    return "registry-1.docker.io" if name == DOCKER_HUB else name


def _config_path(host: Host) -> tuple[Change | None, str]:
    """The change that config.toml needs (None: none), and the folder of the hosts.toml files."""
    before = host.text(_CONFIG)
    tree = _toml(before or "", _CONFIG)
    version = int(tree.get("version", 2 if before is None else 1))
    if version == 1:
        raise UsageError(
            "a configuration of version 1",
            subject=_CONFIG,
            advice="bring it to version 2 first (from containerd 1.7 on: containerd config migrate)",
        )
    table = _TABLES.get(version, _TABLES[3])
    registry = tree.get("plugins", {}).get(table, {}).get("registry", {})
    if found := str(registry.get("config_path", "")):
        return None, found.split(":")[0]
    if registry.get("mirrors") or registry.get("configs"):
        raise UsageError(
            "registry.mirrors and registry.configs can't be used together with hosts.toml",
            subject=_CONFIG,
            advice=f"move them to {_CERTS}/REGISTRY/hosts.toml first",
        )
    after = _with_path(before, table)
    try:
        made = tomllib.loads(after)["plugins"][table]["registry"].get("config_path")
    except tomllib.TOMLDecodeError:
        made = None
    if made != _CERTS:  # written in a way that we do not know: nothing is better than something wrong
        raise UsageError(
            "config_path can't be added", subject=_CONFIG, advice=f'set it by hand: {table}, registry: "{_CERTS}"'
        )
    return Change(_CONFIG, None if before is None else before.encode(), after.encode()), _CERTS


def _with_path(before: str | None, table: str) -> str:
    line = f'config_path = "{_CERTS}"\n'
    header = re.compile(rf'^[ \t]*\[plugins\.["\']{re.escape(table)}["\']\.registry\][ \t]*(?:#.*)?$', re.MULTILINE)
    text = before if before is not None else "version = 2\n"
    if found := header.search(text):
        lines = text[found.end() + 1 :]
        lines = re.sub(r'^[ \t]*config_path[ \t]*=[ \t]*(""|\'\')[ \t]*\n', "", lines, count=1, flags=re.MULTILINE)
        return f"{text[: found.end()]}\n  {line}{lines}"
    end = "" if text.endswith("\n") else "\n"
    return f'{text}{end}\n[plugins."{table}".registry]\n  {line}'


def _toml(text: str, path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError("not TOML", subject=path, advice=f"{error}; mend it") from None
