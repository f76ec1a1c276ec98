"""docs/metrics.md names each metric that a process has, and no other."""

from __future__ import annotations

import ast
import re

from prometheus_client.parser import text_string_to_metric_families

from docs.pages import SOURCE, code, page, rows
from dragonfly.telemetry.metrics import Metrics
from dragonfly.telemetry.trace import Tracer

NAME = re.compile(r"dragonfly_[a-z_]+")


def made() -> dict[str, str]:
    """Name → type of what the code makes: gauges by their names in it, all else by asking."""
    families = text_string_to_metric_families(Metrics(Tracer(), "1").render().decode())
    found = {family.name: family.type for family in families if not family.name.endswith("_created")}
    for file in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            first = call.args[0] if isinstance(call, ast.Call) and call.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and NAME.fullmatch(first.value):
                found.setdefault(first.value, "gauge")
    return found


def test_both_ways() -> None:
    told = {code(row[0])[0]: row[1] for row in rows("docs/metrics.md") if row[0].startswith("`dragonfly_")}
    assert told == made()


def test_labels_are_those_that_are_given() -> None:
    text = (SOURCE / "telemetry" / "metrics.py").read_text(encoding="utf-8")
    given: dict[str, list[str]] = {}
    for call in ast.walk(ast.parse(text)):
        if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "_counter":
            name, _, *labels = (argument.value for argument in call.args if isinstance(argument, ast.Constant))
            given[str(name)] = [str(label) for label in labels]
    told = {code(row[0])[0]: code(row[2]) for row in rows("docs/metrics.md") if row[1] == "counter"}
    assert told == given


def test_expressions_use_metrics_that_exist() -> None:
    known = made()
    for name in NAME.findall(page("docs/metrics.md")):
        assert re.sub(r"_(total|bucket)$", "", name) in known, name
