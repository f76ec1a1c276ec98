"""Exit statuses, and which error becomes which. Only the commands know them."""

from __future__ import annotations

import enum

from dragonfly.errors import DragonflyError, IntegrityError, SourceError, UsageError

__all__ = ["Exit", "exit_for"]


class Exit(enum.IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    DIGEST_MISMATCH = 3
    SOURCE_REFUSED = 4
    INTERRUPTED = 130


def exit_for(error: DragonflyError) -> Exit:
    if isinstance(error, IntegrityError):
        return Exit.DIGEST_MISMATCH
    if isinstance(error, UsageError):
        return Exit.USAGE
    if isinstance(error, SourceError) and error.status is not None:
        return Exit.SOURCE_REFUSED
    return Exit.FAILED
