"""Dragonfly: P2P distribution of container images, models and files.

The names below load on first use (PEP 562), so that importing one module of the
pure core does not pull in the network stack, and `dfget --version` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dragonfly.errors import DragonflyError

__version__ = "0.1.0"

_LAZY = {"DragonflyError": "dragonfly.errors"}

__all__ = ["DragonflyError", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
