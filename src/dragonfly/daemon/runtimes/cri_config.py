"""Where containerd's CRI plugin looks for hosts.toml files: `config_path`, and what to add where it is not set.

Files that config.toml imports are read after it, and a plugin's table in one of them takes the place of
all that was said of this plugin before.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

import msgspec

from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.toml import parsed, table
from dragonfly.errors import UsageError

__all__ = ["CERTS", "CONFIG", "ConfigPath", "config_path"]

CONFIG = "/etc/containerd/config.toml"
CERTS = "/etc/containerd/certs.d"
#: The CRI plugin's tables, by the version of the configuration.
_TABLES = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.images"}
_CRI = {"cri", *_TABLES.values()}
_PLUGINS = {"plugins", "disabled_plugins", "required_plugins", "proxy_plugins"}


class ConfigPath(msgspec.Struct, frozen=True):
    """`change`: content of config.toml before and after, where it must be changed."""

    folder: str
    change: tuple[bytes | None, bytes] | None = None
    note: str = ""


def config_path(host: Host) -> ConfigPath:
    """UsageError where it can't be set, or would not hold."""
    text = host.text(CONFIG)
    tree = parsed(text or "", CONFIG)
    if _CRI & {str(each) for each in _list(tree, "disabled_plugins")}:
        return ConfigPath(CERTS, note=f"the CRI plugin is disabled in {CONFIG}: nothing to change there")
    if text is not None and "version" not in tree and not _PLUGINS & tree.keys():
        text, tree = f"version = 2\n{text}", {"version": 2} | tree  # says nothing that version 2 means otherwise
    version = tree.get("version", 2 if text is None else 1)
    if version not in _TABLES:
        raise UsageError(
            f"a configuration of version {version}",
            subject=CONFIG,
            advice="bring it to version 2 first (from containerd 1.7 on: containerd config migrate)",
        )
    name = _TABLES[version]
    file, registry = CONFIG, table(tree, "plugins", name, "registry")
    for path in _imports(host, tree):
        imported = parsed(host.text(path) or "", path)
        mine = _TABLES.get(imported.get("version", version), name)
        if mine in table(imported, "plugins"):
            file, registry = path, table(imported, "plugins", mine, "registry")
    if found := str(registry.get("config_path", "")):
        return ConfigPath(found.split(":")[0])
    if registry.get("mirrors") or registry.get("configs"):
        raise UsageError(
            "registry.mirrors and registry.configs can't be used together with hosts.toml",
            subject=file,
            advice=f"move them to {CERTS}/REGISTRY/hosts.toml first",
        )
    after = _with_path(text, name)
    if file != CONFIG or table(parsed(after, "", {}), "plugins", name, "registry").get("config_path") != CERTS:
        # Written in a way that we do not know, or not where we write: nothing is better than something wrong.
        raise UsageError(
            "config_path can't be added", subject=file, advice=f'set it by hand: {name}, registry: "{CERTS}"'
        )
    return ConfigPath(CERTS, (host.read(CONFIG), after.encode()))


def _imports(host: Host, tree: dict[str, Any]) -> list[str]:
    """In the order in which they are read."""
    patterns = [posixpath.join(posixpath.dirname(CONFIG), str(each)) for each in _list(tree, "imports")]
    return [name for pattern in patterns for name in host.files(pattern)]


def _list(tree: dict[str, Any], key: str) -> list[Any]:
    found = tree.get(key)
    return found if isinstance(found, list) else []


def _with_path(before: str | None, name: str) -> str:
    line = f'config_path = "{CERTS}"\n'
    header = re.compile(
        rf'^[ \t]*\[plugins\.["\']{re.escape(name)}["\']\.registry\][ \t]*(?:#[^\n]*)?\r?$', re.MULTILINE
    )
    text = before if before is not None else "version = 2\n"
    if found := header.search(text):
        lines = text[found.end() + 1 :]
        lines = re.sub(r'^[ \t]*config_path[ \t]*=[ \t]*(""|\'\')[^\n]*\n', "", lines, count=1, flags=re.MULTILINE)
        return f"{text[: found.end()]}\n  {line}{lines}"
    end = "" if text.endswith("\n") else "\n"
    return f'{text}{end}\n[plugins."{name}".registry]\n  {line}'
