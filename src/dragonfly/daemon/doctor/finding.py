"""What a check found, and what to do about it."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["Finding", "Verdict"]


class Verdict(enum.StrEnum):
    GOOD = "good"
    NOTE = "note"
    """Works, but should be known."""
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`cure` is one line; empty where nothing is wrong."""

    check: str
    verdict: Verdict
    detail: str
    cure: str = ""


def good(check: str, detail: str) -> Finding:
    return Finding(check=check, verdict=Verdict.GOOD, detail=detail)


def note(check: str, detail: str, cure: str = "") -> Finding:
    return Finding(check=check, verdict=Verdict.NOTE, detail=detail, cure=cure)


def bad(check: str, detail: str, cure: str) -> Finding:
    return Finding(check=check, verdict=Verdict.BAD, detail=detail, cure=cure)
