"""Text that others sent, made fit for a log or a terminal."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(value: object) -> str:
    """As text in which nothing can begin a line or colour a terminal: what others sent stands in logs."""
    text = str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
