"""From what was counted to what is said: one JSON line per run, one table for many."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .meters import Cpu
from .scenario import Scenario

__all__ = ["BUSY_LIMIT", "Measured", "Result", "append", "load", "percentile", "summarise", "table"]

BUSY_LIMIT = 0.85
"""Above this share of busy CPU, a run measures the machine and not the system."""

#: One result as plain JSON types; keys as `summarise` makes them.
Result = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Raw counts of one run. Times in seconds since the epoch, sizes in bytes."""

    wall: float
    started: dict[int, float]
    ended: dict[int, float]
    bad: dict[int, str]
    sent: dict[str, int]
    received: dict[str, int]
    cpu: Cpu
    own_cpu: float
    busiest: float
    resident: list[int]
    anonymous: list[int]
    details: dict[str, object]


def percentile(ranked: Sequence[float], q: float) -> float:
    """Nearest-rank percentile of sorted values."""
    return ranked[max(0, math.ceil(q * len(ranked)) - 1)]


def summarise(system: str, options: dict[str, str], scenario: Scenario, m: Measured) -> Result:
    """Figures of the clients that count; `efficiency` is None where one of them failed."""
    counted = scenario.counted
    seconds = {i: m.ended[i] - m.started[i] for i in counted if i in m.ended and i not in m.bad}
    failed = {i: why for i, why in m.bad.items() if i in set(counted)}
    ranked = sorted(seconds.values())
    whole = bool(ranked) and not failed and len(ranked) == len(counted)
    first = min(m.started.values())
    makespan = max((m.ended[i] for i in seconds), default=first) - first
    delivered = sum(1 for i in m.ended if i not in m.bad) * scenario.size
    cores = os.cpu_count() or 1
    busy = m.cpu.busy / m.wall / cores
    return {
        "system": system,
        "scenario": scenario.name,
        "options": options,
        "clients": scenario.clients,
        "size": scenario.size,
        "client_mbit": scenario.client_mbit,
        "server_mbit": scenario.server_mbit,
        "bound_s": round(scenario.makespan_bound, 3),
        "makespan_s": round(makespan, 3),
        "efficiency": round(scenario.makespan_bound / makespan, 4) if whole else None,
        "efficiency_worst_client": round(scenario.bound / ranked[-1], 4) if whole else None,
        "p50_s": round(percentile(ranked, 0.5), 3) if ranked else None,
        "p99_s": round(percentile(ranked, 0.99), 3) if ranked else None,
        "p99_over_p50": round(percentile(ranked, 0.99) / percentile(ranked, 0.5), 4) if ranked else None,
        "failures": {str(i): why for i, why in sorted(failed.items())},
        "source_copies": round(m.sent["s0"] / scenario.size, 3),
        "seed_copies": round(sum(m.sent[h] for h in m.sent if h[0] == "s" and h != "s0") / scenario.size, 3),
        "narrow_copies": round(m.sent["narrow"] / scenario.size, 3) if "narrow" in m.sent else None,
        "cpu_busy": round(busy, 3),
        "cpu_busiest_second": round(m.busiest, 3),
        "valid": busy <= BUSY_LIMIT,
        "cpu_s_per_gb": round(m.cpu.busy / (delivered / 1e9), 2) if delivered else None,
        "own_cpu_s_per_gb": round(m.own_cpu / (delivered / 1e9), 2) if delivered else None,
        "resident_mib": round(max(m.resident, default=0) / 2**20, 1),
        "anonymous_mib": round(max(m.anonymous, default=0) / 2**20, 1),
        "cores": cores,
        "steal_s": round(m.cpu.steal, 2),
        "details": m.details,
        "client_seconds": {str(i): round(s, 3) for i, s in seconds.items()},
    }


def append(path: Path, result: Result) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        file.write(json.dumps(result) + "\n")


def load(path: Path) -> list[Result]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


_COLUMNS = (
    ("system", "system"), ("scenario", "scenario"), ("N", "clients"), ("F MB", "size"), ("T* s", "bound_s"),
    ("last s", "makespan_s"), ("efficiency", "efficiency"), ("P99/P50", "p99_over_p50"),
    ("source ×F", "source_copies"), ("servers ×F", "seed_copies"), ("narrow ×F", "narrow_copies"),
    ("CPU s/GB", "cpu_s_per_gb"), ("own CPU s/GB", "own_cpu_s_per_gb"), ("RSS MiB", "resident_mib"),
    ("busy", "cpu_busy"), ("remark", ""),
)  # fmt: skip


def table(results: Iterable[Result]) -> str:
    """Markdown. `servers ×F` is what the other servers than the source's sent, the seed's that is."""
    lines = [
        "| " + " | ".join(title for title, _ in _COLUMNS) + " |",
        "|" + "|".join("---" if i < 2 else "---:" for i in range(len(_COLUMNS))) + "|",
    ]
    for result in results:
        cells = []
        for _, key in _COLUMNS:
            value = result.get(key) if key else _remark(result)
            if key == "size":
                value = result["size"] / 1e6
            cells.append("–" if value is None else f"{value:g}" if isinstance(value, float) else str(value))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _remark(result: Result) -> str:
    if result["failures"]:
        some = next(iter(result["failures"].values()))
        return f"{len(result['failures'])} failed: {some}"[:80]
    return "" if result["valid"] else "machine too busy: invalid"
