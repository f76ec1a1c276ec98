"""Changes to files of a host: shown before, made as a whole, kept so that they can be taken back.

A plan is pure data: the runtimes' modules make it, `apply` writes it. Before the first file is
changed, a record of all of them (what was there, what will be) is on disk, so that `undo` also
works after a crash in the middle.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from dragonfly.daemon.runtimes.host import Host
from dragonfly.daemon.runtimes.record import Record
from dragonfly.errors import UsageError

__all__ = ["Change", "Plan", "apply", "diff"]


class Change(msgspec.Struct, frozen=True):
    """The file `path` (on the host) from `before` to `after`; None: it is not there."""

    path: str
    before: bytes | None
    after: bytes | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`restart`: what the runtime needs to see it, empty for nothing. `notes`: what else is to be known.

    `names`: what /etc/hosts must go on saying for it; `daemon`: where the runtime will look for it.
    """

    runtime: str
    changes: tuple[Change, ...]
    restart: str = ""
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    daemon: str = ""

    @property
    def needed(self) -> tuple[Change, ...]:
        """Those that change anything."""
        return tuple(change for change in self.changes if change.before != change.after)


def diff(changes: Sequence[Change]) -> str:
    """A unified diff of all that would change."""
    lines: list[str] = []
    for change in changes:
        before, after = (
            [] if content is None else content.decode(errors="replace").splitlines(keepends=True)
            for content in (change.before, change.after)
        )
        old, new = ("/dev/null" if content is None else change.path for content in (change.before, change.after))
        lines += (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(before, after, old, new)
        )
    return "".join(lines)


def apply(host: Host, plan: Plan, records: Path) -> None:
    """Write what is needed, or nothing: where a file can't be written, those before it are put back.

    `records`: folder that remembers what was there; it is the backup.
    """
    record = Record.load(records, plan.runtime)
    needed = plan.needed
    if not needed and not plan.names:
        return
    for change in needed:
        record.note(change.path, change.before, change.after)
    record.rely(plan.names, plan.daemon)
    record.save(records)
    written: list[Change] = []
    try:
        for change in needed:
            host.write(change.path, change.after)
            written.append(change)
    except UsageError:
        for change in reversed(written):
            host.write(change.path, change.before)
            if change.before is None:
                host.remove_empty(change.path.rpartition("/")[0])
        raise
