"""click options from settings structs, so that a flag, its key and its text are declared once."""

from __future__ import annotations

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from dragonfly.config.load import Loaded, choices_of, fields_of, load, unit_of
from dragonfly.config.reference import default_text
from dragonfly.config.schema import Command

__all__ = ["given", "load_from", "settings_options"]

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"bytes": "SIZE", "bytes/s": "RATE", "s": "DURATION"}
#: What stands for a text in `--help`, by the last word of the setting's name.
_TEXTS = {
    "advertise": "IP", "allow": "PATTERN", "ca": "FILE", "cert": "FILE", "deny": "PATTERN", "dir": "DIR", "key": "FILE",
    "listen": "IP:PORT", "map": "DOMAIN=URL", "mode": "OCTAL", "policy": "NAME", "rack": "NAME", "registry": "URL",
    "state": "PLACE", "supernode": "HOST", "token": "TOKEN", "upstream": "HOST", "zone": "NAME",
}  # fmt: skip


def settings_options(command: Command) -> Callable[[F], F]:
    """All flat settings of `command` that fit on a command line, and --config."""

    def wrap(function: F) -> F:
        for kind in reversed(command.flat):
            defaults = kind()
            for name, annotation in reversed(list(fields_of(kind).items())):
                option = _option(name, annotation, getattr(defaults, _attribute(kind, name)))
                if option is not None:
                    function = option(function)
        config = click.option(
            "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="settings as YAML"
        )
        return config(function)

    return wrap


def load_from(command: Command, values: dict[str, Any]) -> Loaded:
    """The settings in force, from what click has parsed."""
    return load(command, flags=given(values), file=values.get("config"))


def given(values: dict[str, Any]) -> dict[str, object]:
    """Only what stood on the command line."""
    return {name: value for name, value in values.items() if value not in (None, ()) and name != "config"}


def _attribute(kind: type[msgspec.Struct], name: str) -> str:
    return next(field.name for field in msgspec.structs.fields(kind) if field.encode_name == name)


def _option(name: str, annotation: Any, default: object) -> Callable[[F], F] | None:
    meta = next(
        (m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, msgspec.Meta) and m.description), None
    )
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    origin = typing.get_origin(plain)
    if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
        return None
    if origin is tuple and typing.get_args(plain)[0] is not str:
        return None  # tables in a list have no place on a command line: they are keys of the file
    unit = unit_of(annotation)
    text = meta.description if meta is not None and meta.description else ""
    if shown := default_text(default, unit):
        text = f"{text}  [{shown}]"
    flag = "--" + name.replace("_", "-")
    if plain is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=text)
    many = origin in (tuple, dict)
    if many:
        text += "; may be repeated"
    choices = choices_of(annotation)
    metavar = f"[{'|'.join(choices)}]" if choices else _UNITS.get(unit) or {int: "N", float: "X"}.get(plain)
    metavar = metavar or _TEXTS.get(name.rpartition("_")[2], "TEXT")
    return click.option(flag, name, default=None, multiple=many, metavar=metavar, help=text)
