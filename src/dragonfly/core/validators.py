"""What makes a stored copy of a URL checkable at its source."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

__all__ = ["Validators"]

_NOT_FRESH = re.compile(r"(?:^|[\s,])no-(?:store|cache)\b", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=(\d{1,9})", re.IGNORECASE)


class Validators(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What makes a stored copy checkable: RFC 9110 §8.8, RFC 9111 §5.2."""

    etag: str = ""
    last_modified: str = ""
    fresh_for_s: float = 0.0
    """max-age of the answer: it may be served that long without asking."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Validators:
        """From an answer's headers, by lower-case name."""
        control = headers.get("cache-control", "")
        max_age = None if _NOT_FRESH.search(control) else _MAX_AGE.search(control)
        return cls(
            etag=headers.get("etag", ""),
            last_modified=headers.get("last-modified", ""),
            fresh_for_s=float(max_age[1]) if max_age else 0.0,
        )
