"""Failures as HTTP answers: one sentence that says what happened, to which URL, and what to do."""

from __future__ import annotations

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from dragonfly import __version__
from dragonfly.errors import CapacityError, DragonflyError, SourceError, SourceUnreachable, UsageError

__all__ = ["SERVER", "problem", "refusal", "status_of"]

#: The Server header of answers that are our own.
SERVER = f"dragonfly/{__version__}"

#: Codes of the OCI distribution specification, so that registry clients show the sentence.
_CODES = {
    400: "NAME_INVALID",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    429: "TOOMANYREQUESTS",
}


def refusal(request: web.BaseRequest, status: int, sentence: str) -> web.Response:
    """`sentence` as a registry's error document for `/v2/` paths, as plain text for others."""
    shown = sentence.encode("ascii", "replace").decode().replace("\n", " ").replace("\r", " ")[:500]
    headers = CIMultiDict({"X-Dragonfly-Error": shown, "Server": SERVER})
    if "/v2/" in request.raw_path:
        document = {"errors": [{"code": _CODES.get(status, "UNKNOWN"), "message": sentence}]}
        headers["Content-Type"] = "application/json"
        return web.Response(status=status, body=msgspec.json.encode(document), headers=headers)
    headers["Content-Type"] = "text/plain; charset=utf-8"
    return web.Response(status=status, body=f"dragonfly: {sentence}\n".encode(), headers=headers)


def problem(request: web.BaseRequest, error: DragonflyError) -> web.Response:
    """The answer to a request that failed with `error`."""
    response = refusal(request, status_of(error), str(error))
    if isinstance(error, SourceError) and error.challenge:
        response.headers["WWW-Authenticate"] = error.challenge
    return response


def status_of(error: DragonflyError) -> int:
    match error:
        case SourceUnreachable():
            return error.status if error.status in (502, 503, 504) else 502
        case SourceError():
            return error.status if error.status is not None and 400 <= error.status < 600 else 502
        case UsageError():
            return 400
        case CapacityError():
            return 503
        case _:
            return 502
