"""Which request goes which way, decided by its URL. Pure: settings in, verdicts out.

Rules are searched for in order, the first that matches decides, as Dragonfly's users know
them: a match means through the swarm unless the rule says `direct`; `redirect` and
`use_https` change where the source is asked, in either case. A redirected URL is not
matched again, so no set of rules can go round in circles.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from dragonfly.daemon.settings import Hijack, Permit, Rule
from dragonfly.errors import UsageError

__all__ = ["HijackList", "Rules", "Verdict", "WhiteList"]


class Verdict(NamedTuple):
    """How one URL is fetched."""

    url: str
    """Where, after redirect and use_https."""
    p2p: bool
    matched: bool
    """Whether any rule had a say."""
    filters: tuple[str, ...] = ()
    """Query keys that do not change the content."""


class Rules:
    """The ordered list. UsageError from the constructor where a rule makes no sense."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(_pattern("rules", rule.regex or rule.regx), _checked(rule)) for rule in rules]

    def decide(self, url: str) -> Verdict:
        """The verdict on an absolute http or https URL; not matched means direct."""
        for pattern, rule in self._rules:
            if pattern.search(url):
                return Verdict(_rewritten(url, rule), not rule.direct, True, rule.filters)
        return Verdict(url, False, False)


class HijackList:
    """Whose CONNECT is ended here."""

    def __init__(self, entries: Sequence[Hijack]) -> None:
        self._entries = [(_pattern("hijack", entry.regex or entry.regx, re.IGNORECASE), entry) for entry in entries]

    def find(self, host: str, port: int) -> Hijack | None:
        """The first entry whose pattern is found in `HOST:PORT`, or in the bare host (for `…\\.com$`)."""
        where = f"{_bracketed(host)}:{port}"
        for pattern, entry in self._entries:
            if pattern.search(where) or pattern.search(host):
                return entry
        return None


class WhiteList:
    """Which hosts and ports may be proxied at all; an empty list allows any."""

    def __init__(self, permits: Sequence[Permit]) -> None:
        self._permits = [
            (_pattern("permit", permit.host or ".*", re.IGNORECASE), frozenset(permit.ports)) for permit in permits
        ]

    def allows(self, host: str, port: int) -> bool:
        """The pattern has to match the whole name, so that `example.com` lets no `example.com.evil` in."""
        if not self._permits:
            return True
        return any(pattern.fullmatch(host) and (not ports or port in ports) for pattern, ports in self._permits)


def _checked(rule: Rule) -> Rule:
    if rule.p2p and rule.direct:
        raise UsageError("a rule says both p2p and direct", subject=rule.regex or rule.regx, advice="keep one of them")
    if rule.redirect and ("/" in rule.redirect or "@" in rule.redirect):
        raise UsageError(
            "not a host to redirect to",
            subject=repr(rule.redirect),
            advice="write HOST or HOST:PORT, without a scheme",
        )
    return rule


def _rewritten(url: str, rule: Rule) -> str:
    https = rule.use_https or rule.use_https_v1 or rule.use_tls_v2
    if not (rule.redirect or https):
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=rule.redirect or parts.netloc, scheme="https" if https else parts.scheme))


def _pattern(where: str, text: str, flags: int = 0) -> re.Pattern[str]:
    if not text:
        raise UsageError("an entry without a regular expression", subject=where, advice="give it `regex: …`")
    try:
        return re.compile(text, flags)
    except re.error as error:
        raise UsageError("not a regular expression", subject=f"{where}: {text!r}", advice=str(error)) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
