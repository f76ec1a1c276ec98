"""Sizes, rates and durations as people write them: `20M`, `2GiB`, `100Mbit`, `30s`, `5m`.

One place, used by flags, configuration files and output. Sizes: decimal K M G T (powers
of 1000), binary KiB MiB GiB TiB. Rates: a size per second, or bits with `bit`.
Durations: ms s m h d.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from dragonfly.errors import UsageError

__all__ = [
    "Duration",
    "Rate",
    "Size",
    "format_duration",
    "format_rate",
    "format_size",
    "parse_duration",
    "parse_rate",
    "parse_size",
]

#: Annotations for settings: the configuration loader sees `unit` and parses the text form.
Size = Annotated[int, Meta(extra={"unit": "bytes"})]
Rate = Annotated[int, Meta(extra={"unit": "bytes/s"})]
Duration = Annotated[float, Meta(extra={"unit": "s"})]

_MOST = 2.0**62  # bytes, bytes/s or seconds: more fits in no file
_PREFIX = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<prefix>[kmgt]i?)?b?", re.IGNORECASE)
_BITS = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<prefix>[kmgt]i?)?bit", re.IGNORECASE)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_size(text: str) -> int:
    """`"20M"` → 20_000_000, `"2GiB"` → 2_147_483_648; bytes."""
    form = _SIZE.fullmatch(text.strip())
    if form is None:
        raise UsageError(
            "not a size", subject=repr(text), advice="write a number with K, M, G, T or KiB, MiB, GiB, TiB"
        )
    return _whole(form, _PREFIX[(form["prefix"] or "").lower()], text)


def parse_rate(text: str) -> int:
    """`"20M"` or `"20MB/s"` → 20_000_000; `"100Mbit"` → 12_500_000; bytes/s. 0 means no limit."""
    bare = text.strip().lower().removesuffix("/s").removesuffix("ps")
    bits = _BITS.fullmatch(bare)
    if bits is not None:
        return _whole(bits, _PREFIX[bits["prefix"] or ""] / 8, text)
    try:
        return parse_size(bare)
    except UsageError:
        raise UsageError("not a rate", subject=repr(text), advice="write 20M (bytes/s) or 100Mbit") from None


def _whole(form: re.Match[str], unit: float, text: str) -> int:
    count = float(form["number"]) * unit
    if count > _MOST:
        raise UsageError("too much", subject=repr(text[:40]), advice="no disk or link is that large")
    return int(count)


def parse_duration(text: str) -> float:
    """`"90s"`, `"1m30s"`, `"250ms"`, or a bare number of seconds → seconds."""
    bare = text.strip().lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", bare):
        bare += "s"
    if not _DURATION.fullmatch(bare):
        raise UsageError("not a duration", subject=repr(text), advice="write 30s, 5m, 1h30m or a number of seconds")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(bare))
    if seconds > _MOST:
        raise UsageError("too long", subject=repr(text[:40]), advice="write 30s, 5m or 1h30m")
    return seconds


def format_size(count: float) -> str:
    """Three significant digits, decimal prefixes: `1.21 MB`."""
    for prefix in ("", "k", "M", "G"):
        if abs(count) < 999.5:
            return f"{count:.3g} {prefix}B" if prefix else f"{count:.0f} B"
        count /= 1000
    return f"{count:.3g} TB" if abs(count) < 999.5 else f"{count:.0f} TB"


def format_rate(rate: float) -> str:
    return f"{format_size(rate)}/s"


def format_duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
