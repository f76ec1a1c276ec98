#!/usr/bin/env python3
"""The 2019 experiment on one machine: N rate-limited hosts pull the same file, by several systems.

    swarm.py                                 all systems, N = 10 50 100 200, 20 and 100 MB, and all scenarios
    swarm.py --quick                         two minutes: 10 and 20 clients at the full rates
    swarm.py --systems native dragonfly --clients 50 --size-mb 20
    swarm.py --scenarios seed-2F killed-10%  conditions other than the plain ones
    swarm.py --scale 0.5                     all rates by one factor, where the machine is too slow
    swarm.py --table results.jsonl           only show again what was measured

Needs root (network namespaces), iproute2, nginx and curl; aria2 and libtorrent are left out
where they are not installed. Results are appended to --json, the table goes to standard
output, the picture to --svg. A run on a machine more than 85 % busy is marked invalid.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rig.bittorrent import Aria2, Libtorrent
from rig.dragonfly import Dragonfly
from rig.namespaces import RigError, remove
from rig.plot import svg
from rig.report import Result, append, load, table
from rig.runner import measure
from rig.scenario import SCENARIOS, Scenario
from rig.systems import Native, NotApplicable, System

SYSTEMS: dict[str, type[System]] = {s.name: s for s in (Native, Aria2, Libtorrent, Dragonfly)}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--clients", nargs="+", type=int, help="numbers of client hosts (10 50 100 200)")
    parser.add_argument("--size-mb", nargs="+", type=float, help="file sizes in 10^6 bytes (20 100)")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, help="conditions (all)")
    parser.add_argument("--client-mbit", type=float, default=10, help="rate of a client host's link (10)")
    parser.add_argument("--server-mbit", type=float, default=100, help="rate of a server host's link (100)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor for all rates (1)")
    parser.add_argument("--quick", action="store_true", help="10 MB for 10 and 20 clients, all systems")
    parser.add_argument("--repeat", type=int, default=1)
    options = "dragonfly.bin=FOLDER, dragonfly.daemon_args='…', libtorrent.piece=65536"
    parser.add_argument("--opt", action="append", default=[], metavar="SYSTEM.KEY=VALUE", help=options)
    parser.add_argument("--json", type=Path, default=Path("bench/results/rig.jsonl"))
    parser.add_argument("--svg", type=Path, default=Path("bench/results/rig.svg"))
    parser.add_argument("--prefix", default="dfb", help="of the namespaces: two rigs can run side by side")
    parser.add_argument("--net", type=int, default=78, help="second byte of the hosts' addresses")
    parser.add_argument("--work", type=Path, help="base of the scratch folder (memory where it fits)")
    parser.add_argument("--limit", type=float, default=0, help="give a run up after so many seconds")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder of the last run")
    parser.add_argument("--table", type=Path, metavar="JSONL", help="measure nothing, show these results")
    parser.add_argument("--down", action="store_true", help="remove what a killed rig left behind, and end")
    return parser.parse_args(argv)


def scenarios(args: argparse.Namespace) -> Iterator[tuple[Scenario, list[str]]]:
    """What to run, with which systems. Special conditions are for N = 50 and 20 MB only by default."""
    if args.quick:
        chosen = [("plain", n, 10.0) for n in (10, 20)]
    elif args.scenarios or args.clients or args.size_mb:
        names = args.scenarios or ["plain"]
        chosen = [(name, n, mb) for name in names for mb in args.size_mb or [20] for n in args.clients or [50]]
    else:
        chosen = [("plain", n, mb) for mb in (20.0, 100.0) for n in (10, 50, 100, 200)]
        chosen += [(name, 100 if name == "corrupt-1%" else 50, 20.0) for name in SCENARIOS if name != "plain"]
    for name, n, mb in chosen:
        narrow = 2 * args.client_mbit if SCENARIOS[name].narrow_mbit else 0
        scenario = dataclasses.replace(
            SCENARIOS[name],
            clients=n,
            size=int(mb * 1e6),
            client_mbit=args.client_mbit,
            server_mbit=args.server_mbit,
            narrow_mbit=narrow,
        )
        yield scenario.scaled(args.scale), args.systems


def run(args: argparse.Namespace) -> list[Result]:
    options: dict[str, dict[str, str]] = {}
    for word in args.opt:
        key, _, value = word.partition("=")
        system, _, name = key.partition(".")
        options.setdefault(system, {})[name] = value
    results = []
    for scenario, systems in scenarios(args):
        for name in systems:
            if name == "aria2" and shutil.which("aria2c") is None:
                continue
            for _ in range(args.repeat):
                try:
                    result = measure(
                        scenario, SYSTEMS[name](options.get(name)), prefix=args.prefix, net=args.net,
                        work=args.work, limit_s=args.limit, keep=args.keep,
                    )  # fmt: skip
                except NotApplicable as why:
                    print(f"# {name}, {scenario.name}: left out: {why}", file=sys.stderr)
                    break
                except RigError as error:
                    print(f"# {name}, {scenario.name}: {error}", file=sys.stderr)
                    break
                append(args.json, result)
                results.append(result)
                print(table([result]).splitlines()[-1], file=sys.stderr, flush=True)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if args.down:
        print(f"removed {remove(args.prefix)} namespaces")
        return 0
    results = load(args.table) if args.table else run(args)
    if not results:
        return 1
    print(table(results))
    with contextlib.suppress(OSError):
        args.svg.parent.mkdir(parents=True, exist_ok=True)
        args.svg.write_text(svg(results))
    return 1 if any(result["failures"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
