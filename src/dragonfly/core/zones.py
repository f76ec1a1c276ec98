"""Zones: data halls or sites with little between them. Names only; a node without one is everywhere at home."""

from __future__ import annotations

__all__ = ["is_far"]


def is_far(mine: str, theirs: str) -> bool:
    """Whether what I take from there crosses into my zone; a giver of no zone is far from all that have one."""
    return bool(mine) and mine != theirs
