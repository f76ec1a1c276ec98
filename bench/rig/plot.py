"""Share of clients that are done, over time, as SVG: one panel per number of clients."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .report import Result

__all__ = ["svg"]

_COLOURS = {"native": "#c0392b", "aria2": "#8e44ad", "libtorrent": "#2980b9", "dragonfly": "#1e8449"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 360, 240, 46, 40, 34


def svg(results: Sequence[Result]) -> str:
    """A picture of all runs in `results`; the dashed line is T*, the least possible time."""
    panels: dict[tuple[str, int, int], list[Result]] = {}
    for result in results:
        panels.setdefault((result["scenario"], result["size"], result["clients"]), []).append(result)
    across = min(2, max(1, len(panels)))
    down = -(-len(panels) // across)
    width, height = across * (_WIDTH + _LEFT + _GAP), down * (_HEIGHT + _TOP + _GAP) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    ]
    for number, (key, runs) in enumerate(sorted(panels.items())):
        x = number % across * (_WIDTH + _LEFT + _GAP) + _LEFT
        y = number // across * (_HEIGHT + _TOP + _GAP) + _TOP
        parts.append(f'<g transform="translate({x},{y})">{_panel(key, runs)}</g>')
    return "".join(parts) + "</svg>\n"


def _panel(key: tuple[str, int, int], runs: Sequence[Result]) -> str:
    scenario, size, clients = key
    longest = max([*(max(run["client_seconds"].values(), default=0) for run in runs), runs[0]["bound_s"]]) * 1.05
    name = "" if scenario == "plain" else f", {scenario}"
    out = [
        f'<text x="0" y="-22" font-weight="bold">{clients} clients, {size / 1e6:g} MB{escape(name)}</text>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
    ]
    for share in (0, 0.5, 1):
        y = _HEIGHT * (1 - share)
        out.append(f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for tick in range(5):
        x = _WIDTH * tick / 4
        out.append(f'<text x="{x:.1f}" y="{_HEIGHT + 16}" text-anchor="middle">{longest * tick / 4:.0f} s</text>')
    bound = runs[0]["bound_s"] / longest * _WIDTH
    out.append(f'<path d="M{bound:.1f} 0V{_HEIGHT}" stroke="#555" stroke-dasharray="4 3"/>')
    for at, run in enumerate(runs):
        colour = _COLOURS.get(run["system"], "#555")
        seconds = sorted(run["client_seconds"].values())
        path = f"M0 {_HEIGHT}"
        for done, second in enumerate(seconds, 1):
            path += f"H{second / longest * _WIDTH:.1f}V{_HEIGHT * (1 - done / clients):.1f}"
        out.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        out.append(f'<text x="{at * 92}" y="-7" fill="{colour}">{escape(run["system"])}</text>')
    return "".join(out)
