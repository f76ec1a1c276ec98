"""Scheme → backend, by entry point (`dragonfly.source.v1`), so that a stranger's package can add one.

The revision of the contract (`source.base`) stands in the group's name.
"""

from __future__ import annotations

import contextlib
import re
import threading
from importlib.metadata import EntryPoint, entry_points
from urllib.parse import urlsplit

from dragonfly.errors import UsageError
from dragonfly.source.base import Source
from dragonfly.source.policy import SourcePolicy

__all__ = ["GROUP", "Sources"]

GROUP = "dragonfly.source.v1"


class Sources:
    """The backends of one node, each made once, at its first use or by `prepare`, with `policy` (all take it as
    their only argument). `allow_file`: whether this node's own files may be read: never where others name the URL.

    A backend that can't be loaded is skipped; `problems` says which and why.
    """

    def __init__(self, *, allow_file: bool = False, policy: SourcePolicy | None = None) -> None:
        self.problems: list[str] = []
        self._policy = policy or SourcePolicy()
        self._lock = threading.Lock()
        self._made: dict[str, Source] = {}
        """By where the class is: one backend may be for several schemes."""
        self._points = {point.name: point for point in entry_points(group=GROUP)}
        if not allow_file:
            self._points.pop("file", None)

    def for_url(self, url: str) -> Source:
        """The backend of the URL's scheme; UsageError where there is none."""
        try:
            scheme = urlsplit(url).scheme.lower()
        except ValueError:
            raise UsageError("not a URL", subject=_shown(url), advice="write SCHEME://HOST/PATH") from None
        point = self._points.get(scheme)
        if point is None:
            known = ", ".join(sorted(self._points))
            raise UsageError("no source for this kind of URL", subject=_shown(url), advice=f"known here: {known}")
        with self._lock:
            made = self._made.get(point.value)
            if made is None:
                made = self._made[point.value] = self._make(point)
            return made

    def prepare(self, *schemes: str) -> None:
        """Make these now: to load one takes a tenth of a second, which no pull should wait for, least in trouble."""
        for scheme in schemes:
            with contextlib.suppress(UsageError):  # said to who asks for it, as ever
                self.for_url(f"{scheme}:")

    def _make(self, point: EntryPoint) -> Source:
        try:
            source: Source = point.load()(self._policy)
        except Exception as error:  # a stranger's code: whatever it raises must not end the node
            problem = f"source plugin {point.value!r} for {point.name}: {error!r}"
            self.problems.append(problem)
            raise UsageError(
                "a source plugin can't be loaded", subject=problem, advice="update or remove its package"
            ) from error
        return source

    def close(self) -> None:
        with self._lock:
            for source in self._made.values():
                with contextlib.suppress(Exception):  # a stranger's code must not keep the others open
                    source.close()
            self._made.clear()


def _shown(url: str) -> str:
    """Without user, password and query."""
    return re.sub(r"://[^/]*@", "://", url.partition("?")[0])
