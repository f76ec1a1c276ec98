"""Each setting is read by some code, and each flag and environment variable that pages name exists.

That docs/configuration.md is what the code says: tests/unit/config/test_reference.py.
"""

from __future__ import annotations

import ast
import re

import msgspec
import pytest

from docs.pages import SOURCE, page, pages
from dragonfly.config.load import fields_of
from dragonfly.config.schema import DAEMON, DFGET, SUPERNODE

COMMANDS = (SUPERNODE, DAEMON, DFGET)


def structs() -> list[type[msgspec.Struct]]:
    """All settings structs, those inside others too."""
    pending = [kind for command in COMMANDS for kind in (*command.flat, *command.sections.values())]
    found: dict[type[msgspec.Struct], None] = {}
    while pending:
        kind = pending.pop()
        if kind in found:
            continue
        found[kind] = None
        for annotation in fields_of(kind).values():
            plain = getattr(annotation, "__origin__", annotation)
            held = (plain, *getattr(plain, "__args__", ()))
            pending += [inner for inner in held if isinstance(inner, type) and issubclass(inner, msgspec.Struct)]
    return list(found)


def read_names() -> set[str]:
    """Names of attributes that code reads as a setting: not of `self`, where an object keeps its own."""
    names = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Attribute) or not isinstance(node.ctx, ast.Load):
                continue
            if not isinstance(node.value, ast.Name) or node.value.id != "self":
                names.add(node.attr)
    return names


@pytest.mark.parametrize("kind", structs(), ids=lambda kind: kind.__name__)
def test_each_is_read(kind: type[msgspec.Struct]) -> None:
    read = read_names()
    dead = [field.name for field in msgspec.structs.fields(kind) if field.name not in read]
    assert not dead, f"nobody reads {kind.__name__}.{dead}"


def test_variables_that_pages_name_exist() -> None:
    known = {f"DRAGONFLY_{name.upper()}" for command in COMMANDS for kind in command.flat for name in fields_of(kind)}
    for command in COMMANDS:
        for section, kind in command.sections.items():
            known |= {f"DRAGONFLY_{section.upper()}__{name.upper()}" for name in fields_of(kind)}
    for name, text in pages().items():
        for variable in re.findall(r"DRAGONFLY_[A-Z_]*[A-Z]", text):
            assert variable in known, f"{name}: {variable}"


def test_keys_that_pages_name_exist() -> None:
    """`key: value` in a sentence is a setting."""
    known = {name for kind in structs() for name in fields_of(kind)} | {"engine", "store"}
    for name in pages():
        for key in re.findall(r"`([a-z][a-z_]+): [^`]+`", page(name)):
            assert key in known, f"{name}: {key}"
