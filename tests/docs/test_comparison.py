"""What docs/comparison.md claims, a test proves: it exists, and it is not one that is skipped always."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from docs.pages import ROOT, code, page, rows

PAGE = "docs/comparison.md"
REFERENCE = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


@cache
def names(path: str) -> dict[str, ast.AST]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name: node for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("reference", sorted(set(code(page(PAGE))) & set(re.findall(r"`(tests/[^`]+)`", page(PAGE)))))
def test_each_named_test_exists(reference: str) -> None:
    match = REFERENCE.fullmatch(reference)
    assert match, f"write tests/FILE.py::NAME: {reference}"
    assert match[2] in names(match[1]), f"{match[1]} has no {match[2]}"
    marks = [ast.unparse(mark) for mark in getattr(names(match[1])[match[2]], "decorator_list", [])]
    assert not any(mark.startswith(("pytest.mark.skip(", "pytest.mark.xfail")) for mark in marks)


def test_each_claim_names_a_test() -> None:
    for row in rows(PAGE):
        assert REFERENCE.search(row[-1]), f"nothing proves: {row[0]}"
