#!/usr/bin/env python3
"""The swarm's own minds in virtual time: thousands of peers in one process, the same every time.

    sim.py                                  100 and 1000 peers, and the special conditions
    sim.py --peers 10000                    ten thousand (a file of 256 pieces; minutes)
    sim.py --set swarm.depth=2 --peers 200  with another setting: judge a change of policy
    sim.py --replay trace.jsonl             a recorded pull again, by today's minds

Efficiency is T* over the time of the last peer that counts; there are no headers in this
world, so 1.0 is what perfection would be (0.956 on the rig). "sent in vain" is per peer,
over the file's length. Results are appended to --json.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dragonfly.sim.churn import Crowd, rehearse
from dragonfly.sim.replay import read, replay
from dragonfly.sim.report import Outcome
from dragonfly.sim.world import WorldSettings

CONDITIONS: dict[str, dict[str, float]] = {
    "plain": {},
    "seed-2F": {"seed_copies": 2},
    "staggered": {"arrive_over": 1},
    "slow-10%": {"slow_share": 0.1},
    "killed-10%": {"killed_share": 0.1},
    "corrupt-1%": {"corrupt_share": 0.01},
    "two-zones": {"narrow_copies": 2},
}

_HEADS = ["conditions", "peers", "pieces", "T* s", "last s", "efficiency", "P99/P50", "source ×F"]
_HEADS += ["seed ×F", "narrow ×F", "in vain ×F", "frames/peer/s", "took s"]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--size-mb", type=float, default=20, help="file size in 10^6 bytes (20)")
    parser.add_argument("--pieces", type=int, default=0, help="number of pieces (as the product chooses)")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, help="(plain for all, the rest at 100 peers)")
    parser.add_argument("--peer-mbit", type=float, default=10)
    parser.add_argument("--seed-mbit", type=float, default=100)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="changes",
                        help="a world setting, or swarm.NAME; e.g. latency_s=0.02, swarm.depth=2")  # fmt: skip
    parser.add_argument("--crowd", action="append", default=[], metavar="NAME=VALUE", help="e.g. degree=6")
    parser.add_argument("--seed", type=int, default=1, help="of chance")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="a recording instead of a crowd")
    parser.add_argument("--json", type=Path, default=Path("bench/results/sim.jsonl"))
    return parser.parse_args(argv)


def changed(changes: Sequence[str]) -> WorldSettings:
    """Defaults with `name=value` put in; a name that does not exist is an error."""
    tree: dict[str, Any] = msgspec.to_builtins(WorldSettings())
    for change in changes:
        name, _, value = change.partition("=")
        place = tree
        *path, leaf = name.split(".")
        for step in path:
            place = place[step]
        if leaf not in place:
            raise SystemExit(f"no setting {name!r}; there are: {', '.join(sorted(place))}")
        place[leaf] = None if value == "none" else value
    return msgspec.convert(tree, WorldSettings, strict=False)


def crowds(args: argparse.Namespace) -> Iterator[tuple[str, Crowd]]:
    for peers in args.peers:
        special = args.conditions or (["plain"] if peers != 100 else list(CONDITIONS))
        for name in special:
            # With 10,000 peers a piece costs 10,000 deliveries: fewer pieces, a longer file.
            pieces = args.pieces or (256 if peers > 2000 else 0)
            size = int(args.size_mb * 1e6)
            fields: dict[str, Any] = dict(CONDITIONS[name])
            fields |= {key: float(value) for key, _, value in (word.partition("=") for word in args.crowd)}
            fields |= {name: int(fields[name]) for name in ("degree", "digest_lists") if name in fields}
            yield (
                name,
                Crowd(
                    peers=peers,
                    size=size,
                    piece_size=-(-size // pieces) if pieces else 0,
                    peer_rate=args.peer_mbit * 1.25e5,
                    seed_rate=args.seed_mbit * 1.25e5,
                    source_rate=args.seed_mbit * 1.25e5,
                    **fields,
                ),
            )


def show(name: str, outcome: Outcome, took: float) -> None:
    o = outcome
    ratio = o.p99_s / o.p50_s if o.p50_s else 0.0
    cells = [name, str(o.peers), str(o.pieces), f"{o.bound_s:.1f}", f"{o.last_s:.1f}", f"{o.efficiency:.3f}"]
    cells += [f"{ratio:.3f}", f"{o.source_copies:.2f}", f"{o.seed_copies:.1f}", f"{o.narrow_copies:.2f}"]
    cells += [f"{o.wasted_copies:.3f}", f"{o.frames_per_peer_s:.0f}", f"{took:.1f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    settings = changed(args.changes)
    print("| " + " | ".join(_HEADS) + " |\n|---|" + "---:|" * (len(_HEADS) - 1), flush=True)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    if args.replay:
        began = time.perf_counter()
        show("replay", replay(read(args.replay.read_text().splitlines()), settings), time.perf_counter() - began)
        return 0
    whole = True
    for name, crowd in crowds(args):
        began = time.perf_counter()
        outcome = rehearse(crowd, settings, seed=args.seed)
        took = time.perf_counter() - began
        show(name, outcome, took)
        whole &= outcome.efficiency > 0
        line = {"conditions": name, "crowd": msgspec.to_builtins(crowd), "took_s": round(took, 2)}
        with open(args.json, "a") as file:
            file.write(json.dumps(line | msgspec.to_builtins(outcome)) + "\n")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
