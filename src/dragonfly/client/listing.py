"""What lies below a URL: the links of a web server's index pages, or the files of a folder.

Only what is really below is followed: same origin, deeper path, plain names. So a page can't
lead a download to another host, nor a file out of the output folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from dragonfly.errors import SourceError, UsageError
from dragonfly.source.base import SourceRequest
from dragonfly.source.registry import Sources

__all__ = ["below", "links"]

_MOST_PAGE = 16 * 1024 * 1024
_MOST_DEPTH = 32


def below(url: str, headers: dict[str, str], trust: str = "") -> Iterator[tuple[str, Path]]:
    """Each file below `url`, and its path relative to the output folder."""
    if urlsplit(url).scheme == "file":
        yield from _files(url)
        return
    sources = Sources()
    try:
        yield from _pages(sources, url if url.endswith("/") else url + "/", headers, trust, Path(), set(), 0)
    finally:
        sources.close()


def links(page: str, url: str) -> list[str]:
    """The absolute URLs in `page` (the index at `url`) that lie directly below it, in its order."""
    reader = _Links()
    reader.feed(page)
    here = urlsplit(url)
    found: dict[str, None] = {}
    for link in reader.found:
        try:
            parts = urlsplit(urljoin(url, link))
            same = (parts.scheme, parts.netloc) == (here.scheme, here.netloc)
        except ValueError:
            continue
        name = parts.path.removeprefix(here.path)
        if not same or parts.query or not name or name == parts.path or not _plain(unquote(name.rstrip("/"))):
            continue
        found[urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))] = None
    return list(found)


def _pages(
    sources: Sources, url: str, headers: dict[str, str], trust: str, folder: Path, seen: set[str], depth: int
) -> Iterator[tuple[str, Path]]:
    if url in seen or depth > _MOST_DEPTH:
        return
    seen.add(url)
    for link in links(_page(sources, url, headers, trust), url):
        name = unquote(urlsplit(link).path.removeprefix(urlsplit(url).path)).rstrip("/")
        if link.endswith("/"):
            yield from _pages(sources, link, headers, trust, folder / name, seen, depth + 1)
        else:
            yield link, folder / name


def _page(sources: Sources, url: str, headers: dict[str, str], trust: str) -> str:
    request = SourceRequest(url=url, headers=headers, trust=trust)
    with sources.for_url(url).open(request) as stream:
        if "html" not in stream.described.headers.get("content-type", "html"):
            raise SourceError(
                "not an index page", subject=url, advice="--recursive needs a folder that lists its files"
            )
        body = bytearray()
        buffer = memoryview(bytearray(1 << 16))
        while count := stream.readinto(buffer):
            body += buffer[:count]
            if len(body) > _MOST_PAGE:
                raise SourceError("an index page of more than 16 MiB", subject=url)
    return body.decode("utf-8", errors="replace")


def _files(url: str) -> Iterator[tuple[str, Path]]:
    root = Path(unquote(urlsplit(url).path))
    if not root.is_dir():
        raise UsageError("not a folder", subject=str(root), advice="leave --recursive out for a file")
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            file = Path(folder) / name
            if file.is_file():
                yield f"file://{quote(str(file))}", file.relative_to(root)


def _plain(name: str) -> bool:
    return bool(name) and "/" not in name and "\0" not in name and name not in (".", "..")


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value for name, value in attrs if name == "href" and value]
