"""Settings from everywhere: flag over environment over file over default.

Whatever is wrong is a UsageError that names where it stands, what it is and what is wanted;
an unknown key also names the nearest known one. Nothing is started then.
"""

from __future__ import annotations

import difflib
import enum
import os
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dragonfly.config.schema import Command
from dragonfly.core.units import parse_duration, parse_rate, parse_size
from dragonfly.errors import UsageError

__all__ = ["Loaded", "choices_of", "fields_of", "load", "unit_of"]

_PARSERS = {"bytes": parse_size, "bytes/s": parse_rate, "s": parse_duration}
_MOST = 2**62
S = TypeVar("S", bound=msgspec.Struct)


class Loaded:
    """The settings of one command; `of(kind)` gives the part of that type."""

    def __init__(
        self, command: Command, parts: dict[type[msgspec.Struct], msgspec.Struct], given: frozenset[str]
    ) -> None:
        self._command = command
        self._parts = parts
        self.given = given
        """Dotted names of what was set anywhere."""

    def of(self, kind: type[S]) -> S:
        part = self._parts[kind]
        assert isinstance(part, kind)
        return part

    def tree(self) -> dict[str, object]:
        """Everything in force, as a file would say it. Secrets are in it."""
        found: dict[str, object] = {}
        for kind in self._command.flat:
            found |= msgspec.to_builtins(self._parts[kind])
        for section, kind in self._command.sections.items():
            inner = msgspec.to_builtins(self._parts[kind])
            found[section] = {key: value for key, value in inner.items() if not self._decided(section, key)}
        return found

    def _decided(self, section: str, key: str) -> bool:
        return f"{section}.{key}" in self._command.decided


def load(
    command: Command,
    *,
    flags: Mapping[str, object],
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """`flags`: only those that were given, by field name, as text or as lists of text."""
    tree: dict[str, Any] = {}
    if file is not None:
        _check_keys(command, (read := _read(file)), str(file))
        tree |= read
    for name, text in _variables(command, os.environ if environ is None else environ).items():
        _put(tree, name, text)
    for flag, value in flags.items():
        tree[flag] = value
    parts: dict[type[msgspec.Struct], msgspec.Struct] = {}
    for kind in command.flat:
        own = {name: tree[name] for name in fields_of(kind) if name in tree}
        parts[kind] = _made(kind, own, "")
    for section, kind in command.sections.items():
        raw = tree.get(section) or {}
        _check_decided(command, section, raw)
        parts[kind] = _made(kind, raw, f"{section}.")
    return Loaded(command, parts, frozenset(tree))


def fields_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Name in files → annotated type, as declared."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.encode_name: hints[field.name] for field in msgspec.structs.fields(kind)}


def unit_of(annotation: Any) -> str:
    """bytes, bytes/s or s for the types of `core.units`, else empty."""
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and meta.extra and "unit" in meta.extra:
            return str(meta.extra["unit"])
    return ""


def choices_of(annotation: Any) -> list[str]:
    """The words of a field that takes only some: an enumeration's, or those of a pattern `^(a|b)$`."""
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return [str(one.value) for one in plain]
    for meta in getattr(annotation, "__metadata__", ()):
        if isinstance(meta, msgspec.Meta) and (form := re.fullmatch(r"\^\(([a-z|]+)\)\$", meta.pattern or "")):
            return form[1].split("|")
    return []


# ---------------------------------------------------------------- files and variables


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError("the configuration can't be read", subject=str(file), advice=error.strerror or "") from None
    except Exception as error:  # besides its own errors PyYAML raises what its constructors do (2001-99-99, 0b, …)
        raise UsageError("not YAML", subject=str(file), advice=_one_line(error)) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise UsageError("the configuration is not a table of keys", subject=str(file))
    return {str(key).replace("-", "_"): value for key, value in found.items()}


def _check_keys(command: Command, found: Mapping[str, Any], where: str) -> None:
    known = [name for kind in command.flat for name in fields_of(kind)] + list(command.sections)
    for key in found:
        if key not in known:
            raise _unknown(key, known, where)


def _check_decided(command: Command, section: str, raw: object) -> None:
    """A key that this program would overrule is an error, not a value without effect."""
    for key in raw if isinstance(raw, dict) else ():
        name = f"{section}.{str(key).replace('-', '_')}"
        if (above := command.decided.get(name)) is not None:
            advice = f"use the key {above!r}" if above else f"{command.name} decides it"
            raise UsageError("a key that is not set here", subject=name, advice=advice)


def _unknown(key: str, known: list[str], where: str) -> UsageError:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
    return UsageError("an unknown key", subject=f"{key!r} in {where}", advice=advice)


def _variables(command: Command, environ: Mapping[str, str]) -> dict[str, str]:
    """DRAGONFLY_KEY and DRAGONFLY_SECTION__KEY that this command knows, by dotted name."""
    found: dict[str, str] = {}
    for kind in command.flat:
        for name in fields_of(kind):
            if (text := environ.get(f"DRAGONFLY_{name.upper()}")) is not None:
                found[name] = text
    for section in command.sections:
        start = f"DRAGONFLY_{section.upper()}__"
        for variable, text in environ.items():
            if variable.startswith(start):
                found[f"{section}.{variable[len(start) :].lower().replace('__', '.')}"] = text
    return found


def _put(tree: dict[str, Any], dotted: str, value: object) -> None:
    *path, last = dotted.split(".")
    for name in path:
        inner = tree.get(name)
        tree[name] = tree = dict(inner) if isinstance(inner, dict) else {}
    tree[last] = value


# ---------------------------------------------------------------- values


def _made(kind: type[S], raw: Any, where: str) -> S:
    """A settings struct from raw values; `where` is its dotted place, for errors."""
    if isinstance(raw, kind):
        return raw
    if not isinstance(raw, dict):
        raise UsageError("not a table of keys", subject=where.rstrip(".") or kind.__name__)
    known = fields_of(kind)
    values: dict[str, Any] = {}
    for raw_key, value in raw.items():
        key = str(raw_key) if raw_key in known else str(raw_key).replace("-", "_")
        if key not in known:
            raise _unknown(key, list(known), where.rstrip(".") or "the configuration")
        values[key] = _value(known[key], value, f"{where}{key}")
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        field = str(error).partition("`$.")[2].rstrip("`").partition("[")[0].partition(".")[0]
        raise UsageError(
            "a value that makes no sense",
            subject=f"{where}{field} = {_shown(raw.get(field, values.get(field)))}"
            if field in values
            else where.rstrip(".") or kind.__name__,
            advice=(_wanted(known[field]) if field in values else "") or str(error).partition(" - at")[0],
        ) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise UsageError(
            "a value that makes no sense", subject=where.rstrip(".") or kind.__name__, advice=_one_line(error)
        ) from None


def _wanted(annotation: Any) -> str:
    """What to write for a field, in words; empty where msgspec's own words have to do."""
    metas = [meta for meta in getattr(annotation, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    if choices := choices_of(annotation):
        return f"write {', '.join(choices[:-1])} or {choices[-1]}"
    least = next((f", {meta.ge:g} or more" for meta in metas if meta.ge is not None), "")
    most = next((f", at most {meta.le:g}" for meta in metas if meta.le is not None), "")
    form = {bool: "write true or false", int: "write a whole number", float: "write a number", str: "write a text"}
    return f"{form[plain]}{least}{most}" if plain in form else ""


def _value(annotation: Any, value: Any, where: str) -> Any:
    """Text forms to what msgspec takes: units, lists, tables, nested settings."""
    unit = unit_of(annotation)
    if unit and isinstance(value, str):
        try:
            return _PARSERS[unit](value)
        except UsageError as error:
            raise UsageError(error.what, subject=f"{where} = {_shown(value)}", advice=error.advice) from None
    if unit and isinstance(value, int | float) and not 0 <= value < _MOST:
        raise UsageError("a value that makes no sense", subject=f"{where} = {_shown(value)}", advice="0 or more")
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    origin = typing.get_origin(plain)
    if origin in (typing.Union, types.UnionType) or value is None:
        return value
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return _made(plain, value, f"{where}.")
    if origin is tuple:
        item = typing.get_args(plain)[0]
        return [_value(item, one, f"{where}[{number}]") for number, one in enumerate(_list(value, item, where))]
    if origin is dict:
        return _table(value, where)
    return value


def _list(value: Any, item: Any, where: str) -> list[Any]:
    if isinstance(value, str):
        if isinstance(item, type) and issubclass(item, msgspec.Struct):
            return _list(_yaml(value, where), item, where)
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        if all(isinstance(one, str) for one in value) and item is str:
            return [part.strip() for one in value for part in one.split(",") if part.strip()]
        return list(value)
    return [value]


def _table(value: Any, where: str) -> dict[str, str]:
    if isinstance(value, dict):
        for key, text in value.items():
            if not isinstance(text, str | int | float) or isinstance(text, bool):
                raise UsageError("not a text", subject=f"{where}.{key} = {_shown(text)}", advice="write NAME: VALUE")
        return {str(key): str(text) for key, text in value.items()}
    if not isinstance(value, str | list | tuple):
        raise UsageError("not a table", subject=f"{where} = {_shown(value)}", advice="write NAME=VALUE, or NAME: VALUE")
    pairs = value.split(",") if isinstance(value, str) else list(value)
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = str(pair).partition("=")
        if not equals or not key.strip() or not text.strip():
            raise UsageError("not a pair", subject=f"{where}: {_shown(pair)}", advice="write NAME=VALUE")
        found[key.strip()] = text.strip()
    return found


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except Exception as error:  # as above
        raise UsageError("not YAML", subject=where, advice=_one_line(error)) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _shown(value: object) -> str:
    """A value in an error: one line, not long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
