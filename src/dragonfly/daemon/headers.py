"""Which headers travel on, and which make one client's request another's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from multidict import CIMultiDict, CIMultiDictProxy

__all__ = ["ABOUT_CONTENT", "Headers", "credentials_of", "end_to_end", "fingerprint", "naming_of"]

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

#: What a client is told of a content, whoever sends its bytes (the last three: Hugging Face's).
ABOUT_CONTENT = frozenset(
    {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "etag",
     "expires", "last-modified", "vary", "x-linked-etag", "x-linked-size", "x-repo-commit"}
)  # fmt: skip
#: For one connection only: RFC 9110 §7.6.1, and what clients say to proxies.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
     "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip
#: Say how the answer should look or what the client is; anything else may be what lets it in.
_HARMLESS = _HOP_BY_HOP | frozenset(
    {"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "content-length",
     "content-type", "dnt", "expect", "forwarded", "host", "if-match", "if-modified-since", "if-none-match",
     "if-range", "if-unmodified-since", "max-forwards", "origin", "pragma", "priority", "range", "referer",
     "upgrade-insecure-requests", "user-agent", "via", "x-forwarded-for", "x-forwarded-host",
     "x-forwarded-proto", "x-request-id", "docker-distribution-api-version"}
)  # fmt: skip


def end_to_end(headers: Headers, drop: Iterable[str] = ()) -> CIMultiDict[str]:
    """A copy without what belongs to one connection, and without `drop` (lower case)."""
    gone = _HOP_BY_HOP.union(drop)
    for line in headers.getall("Connection", []):
        gone |= {token.strip().lower() for token in line.split(",")}
    return CIMultiDict((key, value) for key, value in headers.items() if key.lower() not in gone)


def credentials_of(headers: Headers) -> dict[str, str]:
    """Headers that may be what lets this client in: Authorization, Cookie, and all that we do not know."""
    return {
        key: value
        for key, value in end_to_end(headers).items()
        if key.lower() not in _HARMLESS and not key.lower().startswith(("sec-fetch-", "sec-ch-"))
    }


def naming_of(headers: Headers) -> dict[str, str]:
    """Headers that may change the content; `Accept: */*` says nothing."""
    accept = headers.get("Accept", "*/*")
    named = {} if accept == "*/*" else {"Accept": accept}
    if "Accept-Language" in headers:
        named["Accept-Language"] = headers["Accept-Language"]
    return named


def fingerprint(headers: dict[str, str]) -> str:
    """Names a set of credentials without holding them: they never stay in a cache or a log."""
    told = "\n".join(
        f"{key.lower()}:{value}" for key, value in sorted(headers.items(), key=lambda item: item[0].lower())
    )
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest() if headers else ""
