"""HTTP byte ranges (RFC 9110 §14): read, resolve against a length, write.

Inside the project a range is `(start, end)` with `end` behind the last byte; only the
header's text counts inclusively.
"""

from __future__ import annotations

import re

__all__ = ["MAX_PARTS", "content_range", "parse_ranges"]

#: More parts than this in one request are an attack or a mistake (RFC 9110 §17.15): the whole is sent.
MAX_PARTS = 64

_SET = re.compile(r"bytes\s*=\s*(.*)", re.IGNORECASE)
#: No number that Python would refuse to read: a Range of thousands of digits is malformed.
_SPEC = re.compile(r"(?:(\d{1,40})-(\d{0,40})|-(\d{1,40}))")


def parse_ranges(header: str, length: int) -> list[tuple[int, int]] | None:
    """The byte ranges that a `Range` header names in a content of `length` bytes, in its order.

    None: not for us (no header, other unit, malformed, too many parts): answer with the whole.
    Empty: well formed, but no byte of it exists: answer 416.
    """
    form = _SET.fullmatch(header.strip())
    if form is None:
        return None
    specs = [part.strip() for part in form[1].split(",") if part.strip()]
    if not specs or len(specs) > MAX_PARTS:
        return None
    found = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if suffix is not None:
            start, end = max(0, length - int(suffix)), length
        else:
            start, end = int(first), length
            if last:
                if int(last) < start:
                    return None
                end = min(length, int(last) + 1)
        if start < end:
            found.append((start, end))
    return found


def content_range(start: int, end: int, length: int) -> str:
    """The `Content-Range` of bytes [start, end) of `length`."""
    return f"bytes {start}-{end - 1}/{length}"
