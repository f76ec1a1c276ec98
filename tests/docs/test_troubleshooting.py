"""docs/troubleshooting.md: errors that exist, all of them; messages that are really said."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re

import pytest

import dragonfly
from docs.pages import SOURCE, code, page, rows
from dragonfly.cli.exits import exit_for
from dragonfly.errors import DragonflyError, SourceError

PAGE = "docs/troubleshooting.md"
QUOTED = re.findall(r"\*\*([a-z][^*]+)\*\*", page(PAGE))


def tree(kind: type[DragonflyError] = DragonflyError) -> dict[str, type[DragonflyError]]:
    found = {kind.__name__: kind}
    for below in kind.__subclasses__():
        found |= tree(below)
    return found


@pytest.fixture(scope="module", autouse=True)
def _everything_imported() -> None:
    for module in pkgutil.walk_packages(dragonfly.__path__, "dragonfly."):
        importlib.import_module(module.name)


def errors() -> dict[str, str]:
    return {code(row[0])[0]: row[1] for row in rows(PAGE, "Errors, by what you can do")}


def test_every_class_of_error_is_told() -> None:
    ours = {name for name, kind in tree().items() if kind.__module__.startswith("dragonfly.")}
    assert set(errors()) == ours


def test_the_tree_in_the_code_is_whole() -> None:
    text = (SOURCE / "errors.py").read_text(encoding="utf-8").partition('"""\n\n')[0]
    for name, kind in tree().items():
        if kind.__module__ == "dragonfly.errors":
            assert name in text


def test_exit_statuses_are_right() -> None:
    for name, told in errors().items():
        if not told:
            continue
        kind = tree()[name]
        status = int(exit_for(kind("x")))
        if issubclass(kind, SourceError) and "with a status" in told:
            assert told == f"{int(exit_for(kind('x', status=404)))} with a status, else {status}"
        else:
            assert told == str(status), name


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_that_is_explained_is_said_somewhere(message: str) -> None:
    said = set()
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
    assert any(message in text for text in said)
