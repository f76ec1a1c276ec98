"""TOML of others, read with the file's name in the error."""

from __future__ import annotations

import tomllib
from typing import Any

from dragonfly.errors import UsageError

__all__ = ["parsed", "table"]


def parsed(text: str, path: str, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """`default` in place of what is not TOML; without one UsageError."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        if default is not None:
            return default
        raise UsageError("not TOML", subject=path, advice=f"{error}; mend it") from None


def table(tree: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The table below `keys`; an empty one where there is none, or something else."""
    found: object = tree
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}
