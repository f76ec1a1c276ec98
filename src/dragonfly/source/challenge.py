"""A registry's demand for credentials, and how it is met (distribution's token authentication).

`parse_challenges` reads WWW-Authenticate as RFC 9110 §11.6.1 has it: several challenges in
one line, quoted strings with escapes.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from dragonfly.errors import SourceError
from dragonfly.source.base import Source, SourceRequest

__all__ = ["Challenge", "authorization_for", "parse_challenges"]

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))\s*(?:,|$)')
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?:\s+|\s*,|$)")
_MOST_TOKEN_BYTES = 1024 * 1024


class Challenge(NamedTuple):
    """`scheme` and the names of `parameters` in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header; what can't be read ends the list."""
    found: list[Challenge] = []
    at = 0
    while at < len(header):
        scheme = _SCHEME.match(header, at)
        if scheme is None:
            break
        at = scheme.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(header, at)) is not None:
            quoted, plain = parameter[2], parameter[3]
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            parameters[parameter[1].lower()] = value
            at = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


class _Answer(msgspec.Struct):
    token: str = ""
    access_token: str = ""


def authorization_for(
    challenge: str, source: Source, request: SourceRequest, *, user: str = "", password: str = ""
) -> str:
    """An Authorization header that meets the first challenge we can meet; empty where there is none.

    Blocks. SourceError where the token service refuses.
    """
    basic = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode('ascii')}" if user else ""
    for one in parse_challenges(challenge):
        if one.scheme == "bearer" and one.parameters.get("realm"):
            return f"Bearer {_fetch_token(one.parameters, source, request, basic)}"
        if one.scheme == "basic" and basic:
            return basic
    return ""


def _fetch_token(parameters: dict[str, str], source: Source, request: SourceRequest, basic: str) -> str:
    try:
        parts = urlsplit(parameters["realm"])
    except ValueError:
        raise SourceError("the registry names no proper token service", subject=parameters["realm"]) from None
    if basic and request.url.startswith("https:") and parts.scheme != "https":
        raise SourceError(
            "the registry wants the password sent in clear", subject=parts.netloc, advice="its token service needs TLS"
        )
    query = [(name, parameters[name]) for name in ("service",) if name in parameters]
    query += [("scope", scope) for scope in parameters.get("scope", "").split(" ") if scope]
    url = urlunsplit(
        (parts.scheme, parts.netloc, parts.path, "&".join(filter(None, (parts.query, urlencode(query)))), "")
    )
    headers = {"Authorization": basic} if basic else {}
    asked = SourceRequest(url=url, headers=headers, trust=request.trust, timeout_s=request.timeout_s)
    body = bytearray()
    scrap = memoryview(bytearray(64 * 1024))
    with source.open(asked) as stream:
        while (count := stream.readinto(scrap)) and len(body) < _MOST_TOKEN_BYTES:
            body += scrap[:count]
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise SourceError("the token service gave no token", subject=asked.url, advice=str(error)) from None
    token = answer.token or answer.access_token
    if not token:
        raise SourceError("the token service gave no token", subject=asked.url)
    return token
