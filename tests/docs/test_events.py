"""The events of docs/metrics.md are those that are told, with their fields and the level of their line."""

from __future__ import annotations

import ast
import logging

from docs.pages import SOURCE, code, page, rows
from dragonfly.peer.report import Result
from dragonfly.telemetry import logs
from dragonfly.telemetry.history import History
from dragonfly.telemetry.metrics import Metrics
from dragonfly.telemetry.trace import Tracer


def told() -> dict[str, set[str]]:
    """Event → its fields, over all places that tell it."""
    found: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "emit" and call.args:
                for part in ast.walk(call.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.setdefault(part.value, set()).update(word.arg for word in call.keywords if word.arg)
    return found


def level(name: str) -> str:
    if name in logs._QUIET:
        return ""
    return logging.getLevelName(logs._LEVELS.get(name, logging.DEBUG)).lower()


def test_names_levels_and_fields() -> None:
    described = {code(row[0])[0]: (row[1], set(code(row[2]))) for row in rows("docs/metrics.md", "Events")}
    assert described == {name: (level(name), fields) for name, fields in told().items()}


def test_nobody_waits_for_an_event_that_is_never_told() -> None:
    waited_for = set(logs._LEVELS) | logs._QUIET | History.NAMES | set(Metrics(Tracer(), "1")._table)
    assert waited_for <= set(told())


def test_fields_of_a_result() -> None:
    words = page("docs/metrics.md").partition("A `result` has")[2].partition("\n\n")[0]
    assert tuple(code(words)) == Result.__struct_fields__
