"""Heads of HTTP/1.1 requests and answers that were taken whole from a socket, parsed by httptools (llhttp, in C)."""

from __future__ import annotations

from typing import NamedTuple

import httptools

__all__ = ["Head", "parse_request", "parse_status"]


class Head(NamedTuple):
    """A request head: header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]


class _Found:
    """What the parser tells."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[str, str] = {}
        self.complete = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("ascii").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_request(head: bytes) -> Head:
    """A request's head, up to its empty line; ValueError where it is none."""
    found = _Found()
    parser = httptools.HttpRequestParser(found)
    _feed(parser, found, head)
    return Head(parser.get_method().decode("ascii"), found.target.decode("ascii"), found.headers)


def parse_status(head: bytes) -> int:
    """The status in an answer's head; ValueError where it is none."""
    found = _Found()
    parser = httptools.HttpResponseParser(found)
    _feed(parser, found, head)
    return parser.get_status_code()


def _feed(parser: httptools.HttpRequestParser | httptools.HttpResponseParser, found: _Found, head: bytes) -> None:
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # CONNECT, 101: what follows is no HTTP
    except httptools.HttpParserError as error:
        raise ValueError(str(error) or "not HTTP") from None
    if not found.complete:
        raise ValueError("its headers have no end")
