"""docs/configuration.md and sample files, written from the settings themselves."""

from __future__ import annotations

import enum
import typing
from collections.abc import Collection
from typing import Any

import msgspec

from dragonfly.config.load import choices_of, fields_of, unit_of
from dragonfly.config.schema import DAEMON, DFGET, SUPERNODE, Command

__all__ = ["default_text", "defaults_text", "reference_text"]

_REQUIRED = object()
_HEAD = """# Configuration

Written by `dragonfly config reference`; a test keeps it so.

Each key of a program can be given in three ways; a flag beats the environment, the environment
beats the file:

| | at the top | in a section |
|---|---|---|
| flag | `--disk-limit 200G` | (no flag) |
| environment | `DRAGONFLY_DISK_LIMIT=200G` | `DRAGONFLY_STORE__TTL_S=30d` |
| file of `--config FILE` (YAML) | `disk_limit: 200G` | `store: {ttl_s: 30d}` |

SIZE: `500K`, `20M`, `1.5G` (powers of 1000), `64KiB`, `2GiB` (powers of 1024), or bytes. RATE: a SIZE per
second, or `100Mbit`. DURATION: `250ms`, `30s`, `5m`, `1h30m`, `7d`, or seconds. A LIST is repeated as a
flag, has commas in the environment, and is a YAML list in a file. TABLES stand in files only (or as YAML
in the environment); what is in them is described at the end.

An unknown key is an error that names the nearest known one. `dragonfly config default PROGRAM` writes a
file with every key at its default, `dragonfly config check PROGRAM FILE` says whether a file is good.
"""


def reference_text() -> str:
    """Markdown for all programs."""
    parts = [_HEAD]
    for command in (SUPERNODE, DAEMON, DFGET):
        parts.append(f"\n## {command.name}\n")
        parts.append(_table(*command.flat))
    sections: dict[str, type[msgspec.Struct]] = {}
    for command in (SUPERNODE, DAEMON):
        sections |= command.sections
    for section, kind in sections.items():
        parts.append(f"\n## Section `{section}` (supernode and dfdaemon)\n")
        parts.append(_table(kind, section=section))
    parts.append("\n## Tables\n")
    for name, kind in sorted(_nested().items()):
        parts.append(f"\n### {name}\n")
        parts.append(_table(kind))
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def defaults_text(command: Command) -> str:
    """A YAML file with every key commented out at its default."""
    lines = [f"# {command.name}: every key at its default. Uncomment what you change."]
    for kind in command.flat:
        lines += _yaml_lines(kind, "")
    for section, kind in command.sections.items():
        lines += ["", f"# {section}:"]
        lines += _yaml_lines(kind, "  ", {name for name in fields_of(kind) if f"{section}.{name}" in command.decided})
    return "\n".join(lines) + "\n"


def _yaml_lines(kind: type[msgspec.Struct], indent: str, without: Collection[str] = ()) -> list[str]:
    lines = []
    for name, (annotation, default) in _fields(kind).items():
        if name in without:
            continue
        text = msgspec.json.encode(default, enc_hook=str).decode()
        lines.append(f"# {indent}{name}: {text}" + (f"   # {about}" if (about := _about(annotation)) else ""))
    return lines


def _table(*kinds: type[msgspec.Struct], section: str = "") -> str:
    rows = ["", "| key | | default | meaning |", "|---|---|---|---|"]
    for kind in kinds:
        for name, (annotation, default) in _fields(kind).items():
            decided = {
                command.name: command.decided[f"{section}.{name}"]
                for command in (SUPERNODE, DAEMON)
                if f"{section}.{name}" in command.decided
            }
            if len(decided) == 2:
                continue
            meaning = _about(annotation)
            for program, above in decided.items():
                meaning += f" ({program} has `{above}` for it)"
            if (inner := _struct_in(annotation)) is not None:
                meaning = f"{meaning + '; ' if meaning else ''}see [{inner.__name__}](#{inner.__name__.lower()})"
            rows.append(f"| `{name}` | {_form(annotation)} | {_shown(default, unit_of(annotation))} | {meaning} |")
    return "\n".join(rows) + "\n"


def _form(annotation: Any) -> str:
    """What is to be written, in a word."""
    if unit := unit_of(annotation):
        return {"bytes": "SIZE", "bytes/s": "RATE", "s": "DURATION"}[unit]
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    origin = typing.get_origin(plain)
    if origin is tuple:
        return "TABLES" if _struct_in(annotation) is not None else "LIST"
    if origin is dict:
        return "LIST of NAME=VALUE"
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return "TABLE"
    if choices := choices_of(annotation):
        return " or ".join(f"`{choice}`" for choice in choices)
    return {bool: "`true` or `false`", int: "number", float: "number"}.get(plain, "text")


def _fields(kind: type[msgspec.Struct]) -> dict[str, tuple[Any, Any]]:
    annotations = fields_of(kind)
    found: dict[str, tuple[Any, Any]] = {}
    for field in msgspec.structs.fields(kind):
        default: Any = field.default
        if default is msgspec.NODEFAULT:
            factory = field.default_factory
            default = _REQUIRED if factory is msgspec.NODEFAULT else factory()
        found[field.encode_name] = (annotations[field.encode_name], default)
    return found


def _about(annotation: Any) -> str:
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description.replace("|", "\\|")
    return ""


def _shown(default: Any, unit: str) -> str:
    if default is _REQUIRED:
        return "(required)"
    text = default_text(default, unit)
    return f"`{text}`" if text else ""


def default_text(default: Any, unit: str) -> str:
    """A default as one would write it, with its unit; empty where it is nothing or a table."""
    if isinstance(default, enum.Enum):
        default = default.value
    if default in ("", (), {}, None) or isinstance(default, msgspec.Struct):
        return ""
    if isinstance(default, tuple):
        return ", ".join(msgspec.json.encode(one, enc_hook=str).decode() for one in default)
    if isinstance(default, bool):
        return str(default).lower()
    if unit in ("bytes", "bytes/s") and default:
        for step, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (10**9, "G"), (10**6, "M")):
            if default % step == 0:
                return f"{default // step}{name}"
    if unit == "s":
        return f"{default:g}s" if default else "0"
    return str(default)


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:
    """The settings struct that a field holds, itself or in a list."""
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    for candidate in (plain, *typing.get_args(plain)):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate
    return None


def _nested() -> dict[str, type[msgspec.Struct]]:
    found: dict[str, type[msgspec.Struct]] = {}
    pending = [kind for command in (SUPERNODE, DAEMON, DFGET) for kind in (*command.flat, *command.sections.values())]
    while pending:
        for annotation in fields_of(pending.pop()).values():
            inner = _struct_in(annotation)
            if inner is not None and inner.__name__ not in found:
                found[inner.__name__] = inner
                pending.append(inner)
    return found
