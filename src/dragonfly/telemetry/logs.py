"""Log lines from events: one INFO line per pull, warnings for what went wrong, the rest at DEBUG."""

from __future__ import annotations

import logging
import sys
import time

import msgspec

from dragonfly.core.text import one_line
from dragonfly.core.units import format_size
from dragonfly.telemetry.trace import Event, Tracer

__all__ = ["log_events", "setup"]

_LEVELS = {
    "pull.finished": logging.INFO,
    "pull.failed": logging.WARNING,
    "pull.fallback": logging.WARNING,
    "request.served": logging.INFO,
    "parent.left": logging.INFO,
    "peer.isolated": logging.WARNING,
    "piece.corrupt": logging.WARNING,
    "session.closed": logging.DEBUG,
    "session.refused": logging.WARNING,
    "supernode.connected": logging.INFO,
    "supernode.lost": logging.WARNING,
    "supernode.unreachable": logging.WARNING,
    "task.evicted": logging.INFO,
    "task.deleted": logging.INFO,
    "daemon.ready": logging.INFO,
    "supernode.ready": logging.INFO,
    "store.recovered": logging.WARNING,
    "config.reloaded": logging.INFO,
    "config.refused": logging.ERROR,
    "preheat.finished": logging.INFO,
    "preheat.unwritten": logging.WARNING,
}
_QUIET = frozenset({"piece.received", "piece.repeated", "run.sent", "source.read"})

logger = logging.getLogger("dragonfly")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        text = f"{at}.{int(record.msecs):03d} {record.levelname:<7} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "event", None)
        line: dict[str, object] = {"at": record.created, "level": record.levelname.lower()}
        if isinstance(event, Event):
            # A pull's result is shown in its parts, by its name: nothing else is, whatever attributes it has.
            line |= {"event": event.name} | {
                name: value if name == "result" else _plain(value) for name, value in event.fields.items()
            }
        else:
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        try:
            return msgspec.json.encode(line, enc_hook=repr).decode()
        except (UnicodeEncodeError, TypeError):  # half a surrogate pair, from a name that was no UTF-8
            plain = {name: value if isinstance(value, int | float) else one_line(value) for name, value in line.items()}
            return msgspec.json.encode(plain).decode()


def _plain(value: object) -> object:
    """A field as JSON: what is no plain value by its repr, which shows no secrets."""
    plain = value is None or isinstance(value, str | int | float | list | tuple | dict)
    return value if plain else repr(value)


def setup(level: str = "info", form: str = "text") -> None:
    """Log to stderr. `form`: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # urllib3 warns of each try with the path and the query, secrets too; the last failure is told by us.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.server").addFilter(_not_of_strangers)
    logger.setLevel(level.upper())


def _not_of_strangers(record: logging.LogRecord) -> bool:
    """A request that is no HTTP is answered 400; a traceback for each would let anybody fill the log,
    with the line that could not be read, credentials and all."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or kind.__module__ != "aiohttp.http_exceptions"


def log_events(tracer: Tracer) -> None:
    """Make the tracer's events log lines, as far as the level in force wants them."""

    def sink(event: Event) -> None:
        level = _LEVELS.get(event.name, logging.DEBUG)
        if event.name not in _QUIET and logger.isEnabledFor(level):
            logger.log(level, "%s", _sentence(event), extra={"event": event})

    tracer.subscribe(sink)


def _sentence(event: Event) -> str:
    """`pull.finished url=… task=sha256-3f9a… 1.07 GB in 2.1 s …`"""
    fields = dict(event.fields)
    parts = [event.name]
    if (result := fields.pop("result", None)) is not None and hasattr(result, "line"):
        parts.append(result.line())
    for name, value in fields.items():
        if value in ("", None):
            continue
        if name == "task":
            value = f"{str(value)[:19]}…"
        elif name == "bytes" and isinstance(value, int):
            value = format_size(value)
        elif isinstance(value, float):
            value = f"{value:.3g}"
        text = one_line(value)
        parts.append(f'{name}="{text}"' if " " in text else f"{name}={text}")
    return " ".join(parts)
