"""What an HTTP server's answer means: content described, a wrong status or no answer as an error that helps."""

from __future__ import annotations

import http.client
import re
import time
from email.utils import parsedate_to_datetime

import urllib3

from dragonfly.core.validators import Validators
from dragonfly.errors import SourceError, SourceUnreachable
from dragonfly.source.base import Described
from dragonfly.source.urls import shown

__all__ = ["check_range", "check_status", "described_by", "translated"]

_MOST_RETRY_AFTER_S = 3600.0
_SHOWN_HEADERS = (
    "content-type", "content-encoding", "content-disposition", "content-language", "etag", "last-modified",
    "cache-control", "docker-content-digest",
)  # fmt: skip
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_DIGEST = re.compile(r"sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})")


def described_by(response: urllib3.BaseHTTPResponse) -> Described:
    """The content, as far as the headers tell."""
    headers = response.headers
    length: int | None = None
    if response.status == 206:
        form = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        length = int(form[3]) if form is not None and form[3] != "*" else None
    elif (text := headers.get("content-length", "")).isdecimal() and len(text) <= 18:
        length = int(text)
    digest = headers.get("docker-content-digest", "")
    kept = {name: headers[name] for name in _SHOWN_HEADERS if name in headers}
    return Described(
        length=length,
        ranges=response.status == 206 or headers.get("accept-ranges", "").lower() == "bytes",
        digest=digest if _DIGEST.fullmatch(digest) else "",
        validators=Validators.of(kept),
        headers=kept,
    )


def check_status(response: urllib3.BaseHTTPResponse, url: str) -> None:
    """SourceError where it has no content; SourceUnreachable where it may have later."""
    status = response.status
    if status in (200, 206):
        return
    what = f"the source answered {status} {response.reason or ''}".rstrip()
    challenge = response.headers.get("www-authenticate", "")
    advice = {
        401: "give credentials (log in, or -H 'Authorization: …')",
        403: "these credentials may not read it",
        404: "check the name",
        416: "the range lies outside the content",
        429: "it is asked too often; try later",
    }.get(status, "look at the source's log" if status >= 500 else "")
    kind = SourceUnreachable if status >= 500 or status in (408, 429) else SourceError
    raise kind(
        what,
        subject=shown(url),
        advice=advice,
        status=status,
        challenge=challenge,
        retry_after=_retry_after(response.headers.get("retry-after", "")) if kind is SourceUnreachable else 0.0,
    )


def check_range(response: urllib3.BaseHTTPResponse, url: str, start: int, end: int | None) -> int:
    """Bytes in the range that the answer gives; SourceError where it is not the one asked for."""
    form = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if form is None or int(form[1]) != start or (end is not None and int(form[2]) >= end):
        raise SourceError("the source gave another range than was asked for", subject=shown(url))
    return int(form[2]) + 1 - start


def translated(error: BaseException, url: str) -> SourceError:
    """What kept an answer from coming, in our words."""
    if isinstance(error, SourceError):
        return error
    if isinstance(error, ValueError | http.client.InvalidURL) and not isinstance(error, OSError):
        # The text of these repeats what could not be sent: the URL with its query, or a header's value.
        return SourceError(
            "the request can't be sent",
            subject=shown(url),
            advice=f"check the URL and the headers ({type(error).__name__})",
        )
    text = str(error)
    if isinstance(error, urllib3.exceptions.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return SourceError(
            "the source's certificate can't be trusted",
            subject=shown(url),
            advice=f"{text}; name its CA with --upstream-ca FILE, or --insecure-upstream HOST",
        )
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return SourceUnreachable("the source's name can't be resolved", subject=shown(url), advice="check name and DNS")
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return SourceUnreachable("the source does not answer", subject=shown(url), advice=text)
    return SourceUnreachable("the source can't be reached", subject=shown(url), advice=text)


def _retry_after(text: str) -> float:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3: a number or a date); 0 where it is neither."""
    if text.strip().isdecimal():
        return min(_MOST_RETRY_AFTER_S, float(text[:9]))
    try:
        wait = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(_MOST_RETRY_AFTER_S, max(0.0, wait))
