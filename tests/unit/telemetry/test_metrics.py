from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dragonfly.core.messages import BytesBy
from dragonfly.peer.report import Result
from dragonfly.telemetry.metrics import Metrics
from dragonfly.telemetry.trace import Tracer


class Scrape:
    """What a Prometheus sees."""

    def __init__(self, metrics: Metrics) -> None:
        families = list(text_string_to_metric_families(metrics.render().decode("utf-8")))
        names = [family.name for family in families]
        assert len(names) == len(set(names)), "a family stands twice"
        self.types = {family.name: family.type for family in families}
        self.values = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.values.get((name, *sorted(labels.items())))


def test_what_happened_is_counted() -> None:
    tracer = Tracer()
    metrics = Metrics(tracer, "1.2.3")
    result = Result(key="k", url="u", length=600, seconds=1.5, received=BytesBy(source=100, seed=200, peers=300))
    tracer.emit("piece.received", task="k", count=1, bytes=300, seed=False)
    tracer.emit("piece.received", task="k", count=3, bytes=200, seed=True)
    tracer.emit("piece.repeated", task="k", count=2, bytes=9)
    tracer.emit("source.read", task="k", bytes=100)
    tracer.emit("piece.corrupt", task="k")
    tracer.emit("run.sent", task="k", bytes=50)
    tracer.emit("parent.left", task="k", peer="p", reason="silent")
    tracer.emit("request.served", source="p2p", status=200, bytes=600)
    tracer.emit("pull.fallback", task="k")
    tracer.emit("pull.finished", task="k", result=result)
    tracer.emit("pull.failed", task="k", result=result)
    tracer.emit("supernode.lost")
    tracer.emit("something.else", bytes=10**9)
    seen = Scrape(metrics)
    for origin in ("source", "seed", "peers"):
        assert seen.value("dragonfly_received_bytes_total", origin=origin) == getattr(result.received, origin)
    assert seen.value("dragonfly_pieces_total", outcome="good") == 4
    assert seen.value("dragonfly_pieces_total", outcome="repeated") == 2
    assert seen.value("dragonfly_pieces_total", outcome="corrupt") == 1
    assert seen.value("dragonfly_uploaded_bytes_total") == 50
    assert seen.value("dragonfly_parents_left_total", reason="silent") == 1
    assert seen.value("dragonfly_requests_total", source="p2p", status="200") == 1
    assert seen.value("dragonfly_served_bytes_total", source="p2p") == 600
    assert seen.value("dragonfly_source_fallbacks_total") == 1
    assert seen.value("dragonfly_pulls_total", outcome="finished") == 1
    assert seen.value("dragonfly_pulls_total", outcome="failed") == 1
    assert seen.value("dragonfly_pull_seconds_count") == 1
    assert seen.value("dragonfly_pull_seconds_bucket", le="2.5") == 1
    assert seen.value("dragonfly_pull_seconds_bucket", le="1.0") == 0
    assert seen.value("dragonfly_supernode_losses_total") == 1
    assert seen.value("dragonfly_build_info", version="1.2.3") == 1


def test_a_gauge_is_asked_at_each_scrape() -> None:
    metrics = Metrics(Tracer(), "1")
    numbers = iter([1.0, 2.0])
    metrics.gauge("dragonfly_tasks", "Tasks.", lambda: next(numbers))
    assert Scrape(metrics).value("dragonfly_tasks") == 1.0
    assert Scrape(metrics).value("dragonfly_tasks") == 2.0


def test_a_gauge_that_fails_does_not_take_the_others_with_it() -> None:
    metrics = Metrics(Tracer(), "1")

    def broken() -> float:
        raise OSError("no such disk")

    metrics.gauge("dragonfly_store_bytes", "Content on disk.", broken)
    metrics.gauge("dragonfly_tasks", "Tasks.", lambda: 3.0)
    seen = Scrape(metrics)
    assert seen.value("dragonfly_store_bytes") is None
    assert seen.value("dragonfly_tasks") == 3.0


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "ü"])
def test_labels_of_any_text_can_be_parsed(value: str) -> None:
    tracer = Tracer()
    metrics = Metrics(tracer, "1")
    tracer.emit("request.served", source=value, status=200, bytes=1)
    assert Scrape(metrics).value("dragonfly_served_bytes_total", source=value) == 1


def test_two_processes_in_one_do_not_share_counters() -> None:
    one, two = Tracer(), Tracer()
    first, second = Metrics(one, "1"), Metrics(two, "1")
    one.emit("pull.fallback")
    assert Scrape(first).value("dragonfly_source_fallbacks_total") == 1
    assert Scrape(second).value("dragonfly_source_fallbacks_total") == 0
