"""docs/configuration.md and sample files, written from the settings themselves."""

from __future__ import annotations

import enum
import typing
from typing import Any

import msgspec

from dragonfly.config.load import fields_of, unit_of
from dragonfly.config.schema import DAEMON, DFGET, SUPERNODE, Command

__all__ = ["defaults_text", "reference_text"]

_HEAD = """# Configuration

Written by `dragonfly config reference`; a test keeps it so.

Each key can stand in the file of `--config FILE` (YAML), in the environment as `DRAGONFLY_KEY`
(`DRAGONFLY_SECTION__KEY` in a section), and, where it is one value or a list, as `--key`.
A flag beats the environment, the environment beats the file. Sizes: `20M`, `2GiB`; rates: `20M`
(bytes/s) or `100Mbit`; durations: `250ms`, `30s`, `5m`. An unknown key is an error.
"""


def reference_text() -> str:
    """Markdown for all programs."""
    parts = [_HEAD]
    for command in (SUPERNODE, DAEMON, DFGET):
        parts.append(f"\n## {command.name}\n")
        parts += [_table(kind) for kind in command.flat]
    seen: dict[str, type[msgspec.Struct]] = {}
    for command in (SUPERNODE, DAEMON):
        seen |= command.sections
    for section, kind in seen.items():
        parts.append(f"\n## Section `{section}` (supernode and dfdaemon)\n")
        parts.append(_table(kind))
    parts.append("\n## Tables within\n")
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
        lines += _yaml_lines(kind, "  ")
    return "\n".join(lines) + "\n"


def _yaml_lines(kind: type[msgspec.Struct], indent: str) -> list[str]:
    lines = []
    for name, (annotation, default) in _fields(kind).items():
        text = msgspec.json.encode(default, enc_hook=str).decode()
        lines.append(f"# {indent}{name}: {text}" + (f"   # {about}" if (about := _about(annotation)) else ""))
    return lines


def _table(kind: type[msgspec.Struct]) -> str:
    rows = ["", "| key | default | meaning |", "|---|---|---|"]
    for name, (annotation, default) in _fields(kind).items():
        meaning = _about(annotation)
        inner = _struct_in(annotation)
        if inner is not None:
            meaning = f"{meaning + '; ' if meaning else ''}see {inner.__name__}"
        rows.append(f"| `{name}` | {_shown(default, unit_of(annotation))} | {meaning} |")
    return "\n".join(rows) + "\n"


def _fields(kind: type[msgspec.Struct]) -> dict[str, tuple[Any, Any]]:
    annotations = fields_of(kind)
    found: dict[str, tuple[Any, Any]] = {}
    for field in msgspec.structs.fields(kind):
        default: Any = field.default
        if default is msgspec.NODEFAULT:
            factory = field.default_factory
            default = "required" if factory is msgspec.NODEFAULT else factory()
        found[field.encode_name] = (annotations[field.encode_name], default)
    return found


def _about(annotation: Any) -> str:
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description.replace("|", "\\|")
    return ""


def _shown(default: Any, unit: str) -> str:
    if isinstance(default, enum.Enum):
        default = default.value
    if default in ("", (), {}) or isinstance(default, msgspec.Struct):
        return ""
    if isinstance(default, tuple):
        return (
            "see below" if default and isinstance(default[0], msgspec.Struct) else f"`{', '.join(map(str, default))}`"
        )
    if isinstance(default, bool):
        return "yes" if default else "no"
    if unit == "bytes" and default and default % (1 << 10) == 0:
        for shift, name in ((20, "MiB"), (10, "KiB")):
            if default % (1 << shift) == 0:
                return f"`{default >> shift}{name}`"
    if unit == "s" and default:
        return f"`{default:g}s`"
    return f"`{default}`"


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
