"""Prometheus metrics, derived from events by one table; what is a state is asked for at scrape time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dragonfly.telemetry.trace import Event, Tracer

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

logger = logging.getLogger("dragonfly")
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class _Gauges(Collector):
    """Gauges whose values are asked for when somebody looks."""

    def __init__(self) -> None:
        self.sources: list[tuple[str, str, Callable[[], float]]] = []

    def collect(self) -> Iterable[Metric]:
        for name, text, value in self.sources:
            try:
                now = value()
            except Exception:  # one that can't be told now must not hide all others
                logger.debug("%s can't be told", name, exc_info=True)
                continue
            yield GaugeMetricFamily(name, text, value=now)


class Metrics:
    """One process's metrics, in a registry of their own."""

    def __init__(self, tracer: Tracer, version: str) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._gauges = _Gauges()
        self._registry.register(self._gauges)
        Gauge("dragonfly_build_info", "Version of this process.", ["version"], registry=self._registry).labels(
            version
        ).set(1)
        self._received = self._counter("dragonfly_received_bytes", "Verified bytes by where they came from.", "origin")
        self._pieces = self._counter("dragonfly_pieces", "Pieces received from other nodes.", "outcome")
        self._uploaded = self._counter("dragonfly_uploaded_bytes", "Bytes sent to other nodes.")
        self._pulls = self._counter("dragonfly_pulls", "Pulls that ended.", "outcome")
        self._fallbacks = self._counter("dragonfly_source_fallbacks", "Pulls that went to the source by themselves.")
        self._left = self._counter("dragonfly_parents_left", "Neighbours left, by reason.", "reason")
        self._requests = self._counter("dragonfly_requests", "Requests of local clients.", "source", "status")
        self._served = self._counter("dragonfly_served_bytes", "Bytes given to local clients.", "source")
        self._lost = self._counter("dragonfly_supernode_losses", "Control sessions that broke.")
        self._seconds = Histogram(
            "dragonfly_pull_seconds", "How long pulls took.", buckets=_SECONDS, registry=self._registry
        )
        # Looking a label up costs as much as counting.
        self._good, repeated = self._pieces.labels("good"), self._pieces.labels("repeated")
        self._from_seed, self._from_peers = self._received.labels("seed"), self._received.labels("peers")
        self._table: dict[str, Callable[[dict[str, object]], None]] = {
            "piece.received": self._piece_received,
            "piece.repeated": lambda f: repeated.inc(_number(f, "count")),
            "piece.corrupt": lambda _: self._pieces.labels("corrupt").inc(),
            "run.sent": lambda f: self._uploaded.inc(_number(f, "bytes")),
            "source.read": lambda f: self._received.labels("source").inc(_number(f, "bytes")),
            "pull.finished": self._pull_finished,
            "pull.failed": lambda _: self._pulls.labels("failed").inc(),
            "pull.fallback": lambda _: self._fallbacks.inc(),
            "parent.left": lambda f: self._left.labels(str(f.get("reason", ""))).inc(),
            "request.served": self._request_served,
            "supernode.lost": lambda _: self._lost.inc(),
        }
        tracer.subscribe(self._sink, frozenset(self._table))

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A value that is asked for at each scrape."""
        self._gauges.sources.append((name, text, value))

    def render(self) -> bytes:
        """All metrics in Prometheus' text form (`CONTENT_TYPE`)."""
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _sink(self, event: Event) -> None:
        self._table[event.name](event.fields)

    def _piece_received(self, fields: dict[str, object]) -> None:
        self._good.inc(_number(fields, "count"))
        (self._from_seed if fields.get("seed") else self._from_peers).inc(_number(fields, "bytes"))

    def _pull_finished(self, fields: dict[str, object]) -> None:
        self._pulls.labels("finished").inc()
        self._seconds.observe(float(getattr(fields.get("result"), "seconds", 0.0)))

    def _request_served(self, fields: dict[str, object]) -> None:
        source = str(fields.get("source", ""))
        self._requests.labels(source, str(fields.get("status", ""))).inc()
        self._served.labels(source).inc(_number(fields, "bytes"))


def _number(fields: dict[str, object], name: str) -> float:
    value = fields.get(name, 0)
    return float(value) if isinstance(value, int | float) else 0.0
