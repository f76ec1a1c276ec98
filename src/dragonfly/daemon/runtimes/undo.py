"""Takes back what the setups of a runtime did, and nothing that anybody else did since.

Files of which each line matters to their runtime are put back whole, or not at all. In /etc/hosts, which
has many writers, only our own lines go, and those stay that another runtime's domains need.
"""

from __future__ import annotations

from pathlib import Path

from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.plan import Change
from dragonfly.daemon.runtimes.record import Record
from dragonfly.daemon.runtimes.wanted import HOSTS, without_names
from dragonfly.errors import UsageError

__all__ = ["plan_undo", "undo"]


def plan_undo(host: Host, runtime: str, records: Path, *, force: bool = False) -> tuple[Change, ...]:
    """The changes that lead back. UsageError where somebody else changed a file since, unless `force`."""
    record = Record.load(records, runtime)
    paths = [path for path in record.files if path != HOSTS]
    now = {path: host.read(path) for path in paths}
    changed = [path for path in paths if path in record.edited or record.foreign(path, now[path])]
    if changed and not force:
        raise UsageError(
            "changed by somebody else since the setup",
            subject=", ".join(changed),
            advice="look at them; --force puts back what was there before",
        )
    changes = [Change(path, now[path], record.before(path)) for path in paths]
    if HOSTS in record.files or record.names:
        changes.append(_hosts(host, record, records))
    return tuple(change for change in changes if change.before != change.after)


def undo(host: Host, runtime: str, records: Path, *, force: bool = False) -> tuple[Change, ...] | None:
    """The changes that were made; None: there was no setup to take back."""
    record = Record.load(records, runtime)
    if record.empty:
        return None
    changes = plan_undo(host, runtime, records, force=force)
    for change in changes:
        host.write(change.path, change.after)
        if change.after is None:
            host.remove_empty(change.path.rpartition("/")[0])
    record.forget(records)
    return changes


def _hosts(host: Host, record: Record, records: Path) -> Change:
    now = host.read(HOSTS)
    needed = {name for other in Record.others(records, record.runtime) for name in other.names}
    if HOSTS in record.files and record.untouched(HOSTS, now) and not needed:
        return Change(HOSTS, now, record.before(HOSTS))
    return Change(HOSTS, now, without_names(now, set(record.names) - needed))
