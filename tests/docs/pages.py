"""The documentation as data: pages, their fenced blocks, links, anchors and tables."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dragonfly"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


class Block(NamedTuple):
    """A fenced block. `page` is relative to the checkout, `line` that of its fence."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@cache
def pages() -> dict[str, str]:
    """Every page for people, by its path in the checkout."""
    found = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in found}


def page(name: str) -> str:
    return pages()[name]


def blocks(*languages: str) -> list[Block]:
    """The fenced blocks of these languages on all pages."""
    return [
        Block(name, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for name, text in pages().items()
        for match in _FENCE.finditer(text)
        if match[1] in languages
    ]


def links() -> list[tuple[str, str]]:
    """(page, target) of each link that is not in a fenced block."""
    return [(name, target) for name, text in pages().items() for target in _LINK.findall(_FENCE.sub("", text))]


def anchors(text: str) -> set[str]:
    """Names of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def rows(name: str, heading: str = "") -> list[list[str]]:
    """The cells of all tables of a page, or of one section of it, without the tables' heads."""
    text = page(name)
    if heading:
        match = re.search(rf"^(#+) {re.escape(heading)}\n", text, re.MULTILINE)
        assert match, f"{name} has no section {heading!r}"
        rest = text[match.end() :]
        end = re.search(rf"^#{{1,{len(match[1])}}} ", rest, re.MULTILINE)
        text = rest[: end.start()] if end else rest
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = {index - 1 for index, row in enumerate(cells) if set("".join(row)) <= set("-: ")}
    return [row for index, row in enumerate(cells) if index not in heads and index - 1 not in heads]


def code(cell: str) -> list[str]:
    """What stands between backticks."""
    return _CODE.findall(cell)
