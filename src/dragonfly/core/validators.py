"""What makes a stored copy of a URL checkable at its source."""

from __future__ import annotations

import msgspec

__all__ = ["Validators"]


class Validators(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What makes a stored copy checkable: RFC 9110 §8.8, RFC 9111 §5.2."""

    etag: str = ""
    last_modified: str = ""
    fresh_for_s: float = 0.0
    """max-age of the answer: it may be served that long without asking."""
