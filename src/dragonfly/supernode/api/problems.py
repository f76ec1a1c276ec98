"""Errors as `application/problem+json` (RFC 9457), and JSON answers from structs."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from dragonfly.errors import CapacityError, DragonflyError, SourceError, UsageError

__all__ = ["Problem", "answer", "errors_as_problems", "from_elsewhere", "guard", "problem", "read"]

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, for people and programs."""

    title: str
    status: int
    detail: str = ""


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A struct as JSON."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json", headers=headers
    )


def problem(status: int, title: str, detail: str = "") -> web.Response:
    body = msgspec.json.encode(Problem(title=title, status=status, detail=detail))
    return web.Response(body=body, status=status, content_type="application/problem+json")


async def read(request: web.Request, kind: type[T]) -> T:
    """The body as `kind`; UsageError where it is not that."""
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise UsageError(
            "the body is not what this call takes", subject=str(error), advice="see /openapi.json"
        ) from None


@web.middleware
async def errors_as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Our errors, and aiohttp's, become problems."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        told = problem(error.status, error.reason, f"{request.method} {request.path}")
        if "Allow" in error.headers:
            told.headers["Allow"] = error.headers["Allow"]
        return told
    except UsageError as error:
        return problem(400, error.what, str(error))
    except CapacityError as error:
        return problem(507, error.what, str(error))
    except SourceError as error:
        return problem(502, error.what, str(error))
    except DragonflyError as error:
        return problem(500, error.what, str(error))


def guard(token: str, handler: Handler) -> Handler:
    """Let only callers with the API token through, where there is one, and no page of another site."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if from_elsewhere(request):
            return problem(403, "Forbidden", "a page of another site may not call this")
        shown = request.headers.get("Authorization", "").removeprefix("Bearer ")
        # Bytes that are no UTF-8 come as halves of surrogate pairs.
        if token and not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), token.encode()):
            return problem(401, "Unauthorized", "this call needs 'Authorization: Bearer <api token>'")
        return await handler(request)

    return guarded


def from_elsewhere(request: web.Request) -> bool:
    """Whether a browser sends it for a page that is not ours."""
    origin = request.headers.get("Origin")
    return origin is not None and origin.partition("://")[2] != request.host
