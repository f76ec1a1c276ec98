"""containerd: a hosts.toml per registry (or for all), which it reads at each pull.

Only the CRI's `config_path` needs a restart, where it is not set yet. Not all of containerd 2 have it by default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dragonfly.daemon.runtimes.cri_config import CERTS, CONFIG, config_path
from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import Change, Plan
from dragonfly.daemon.runtimes.toml import parsed
from dragonfly.daemon.runtimes.wanted import Wanted
from dragonfly.errors import UsageError

__all__ = ["folders", "plan", "restart"]

_ALL = "_default"
_FIRST_HOST = re.compile(r"""^[ \t]*\[[ \t]*["']?host["']?[ \t]*[.\]]""", re.MULTILINE)


def plan(host: Host, wanted: Wanted) -> Plan:
    """UsageError where the configuration is not TOML, or uses what can't go together with hosts.toml."""
    found = config_path(host)
    names = wanted.registries or (_ALL,)
    changes = [_hosts(host, f"{found.folder}/{name}/hosts.toml", name, wanted) for name in names]
    changes += _followed(host, found.folder, names, wanted)
    if found.change is not None:
        changes.append(Change(CONFIG, *found.change))
    notes = [found.note] if found.note else []
    notes.append(f"nerdctl finds it by itself; ctr: ctr images pull --hosts-dir {found.folder} …")
    notes += [f"dfdaemon needs: --map {name}={wanted.url(name)}" for name in names if name in wanted.plain]
    return Plan(
        runtime="containerd",
        changes=tuple(changes),
        restart=restart(change.path for change in changes if change.before != change.after),
        notes=tuple(notes),
        daemon=wanted.daemon,
    )


def restart(paths: Iterable[str]) -> str:
    """What containerd needs after a change of these files."""
    once = "restart containerd once, containers go on running: systemctl restart containerd"
    return once if CONFIG in paths else ""


def folders(host: Host) -> list[str]:
    """Where it may look for hosts.toml files."""
    try:
        return list(dict.fromkeys((config_path(host).folder, CERTS)))
    except UsageError:
        return [CERTS]


def _hosts(host: Host, path: str, name: str, wanted: Wanted) -> Change:
    """Ours before all hosts that are there: the first that answers serves."""
    before = host.text(path)
    block = f'[host."http://{wanted.daemon}"]\n  capabilities = ["pull", "resolve"]\n'
    if before is None:
        server = "" if name == _ALL else f'server = "{wanted.url(name)}"\n\n'
        return Change(path, None, (server + block).encode())
    text = _moved(before, wanted)
    ours = f"http://{wanted.daemon}"
    if ours in _named(text, path):
        return Change(path, before.encode(), text.encode())
    first = _FIRST_HOST.search(text)
    at = first.start() if first else len(text)
    head = text[:at] if not text[:at] or text[:at].endswith("\n") else text[:at] + "\n"
    after = head + block + ("\n" if first else "") + text[at:]
    if next(iter(_named(after, "", default={})), "") != ours:  # written in a way that we do not know
        raise UsageError("a host can't be added before the others", subject=path, advice=f"add by hand: {block}")
    return Change(path, before.encode(), after.encode())


def _followed(host: Host, folder: str, names: Iterable[str], wanted: Wanted) -> list[Change]:
    """Other registries' files that name the daemon where it is no more."""
    changes = []
    for path in host.folders(folder) if wanted.moved else ():
        name = path.rpartition("/")[2]
        before = None if name in names else host.text(f"{path}/hosts.toml")
        if before is not None and (after := _moved(before, wanted)) != before:
            changes.append(Change(f"{path}/hosts.toml", before.encode(), after.encode()))
    return changes


def _moved(text: str, wanted: Wanted) -> str:
    for address in wanted.moved:
        text = text.replace(f'[host."http://{address}"]', f'[host."http://{wanted.daemon}"]')
    return text


def _named(text: str, path: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
    hosts = parsed(text, path, default).get("host", {})
    return hosts if isinstance(hosts, dict) else {}
