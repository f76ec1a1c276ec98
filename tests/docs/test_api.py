"""docs/api.md and /openapi.json tell the same."""

from __future__ import annotations

import re
from typing import Any

from docs.pages import code, page, rows
from dragonfly.supernode.api.openapi import document

PAGE = "docs/api.md"
DOCUMENT: Any = document("1")


def test_every_call_with_its_errors() -> None:
    told = {code(row[0])[0]: set(re.findall(r"\d{3}", row[2])) for row in rows(PAGE) if "/" in row[0]}
    calls = {}
    for path, item in DOCUMENT["paths"].items():
        for method, call in item.items():
            if method != "parameters":
                calls[f"{method.upper()} {path}"] = {status for status in call["responses"] if status >= "400"}
    assert told == calls


def test_every_struct_with_its_fields() -> None:
    schemas = {name: list(schema["properties"]) for name, schema in DOCUMENT["components"]["schemas"].items()}
    told: dict[str, list[str]] = {}
    for heading in ("Tasks", "Nodes and totals", "Preheats"):
        for row in rows(PAGE, heading):
            told[code(row[0])[0]] = code(row[1])
    told["TaskDetail"] = told["TaskSummary"] + [name for name in told["TaskDetail"] if name != "TaskPeer"]
    assert told == schemas


def test_states_of_jobs() -> None:
    told = sorted(re.findall(r"`([A-Z]{6,})`", page(PAGE)))
    assert told == DOCUMENT["components"]["schemas"]["Job"]["properties"]["status"]["enum"]
