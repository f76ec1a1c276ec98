#!/usr/bin/env python3
"""One node against plain tools, side by side in one run: only the ratios mean anything.

    single.py             all: a 1 GiB blob on loopback, small numbers of nodes, the rig at 10 and 50 Mb/s
    single.py --quick     a smaller blob, loopback only

1. A blob that another daemon has, pulled by `curl` through a fresh daemon, verified and
   written to its store and to the output file, against `curl -o` from nginx; one blob, four
   and eight at once. CPU seconds per GB of the giving side (daemon and seed) and of the taking one.
   The same without a client: verified and written to the taking daemon's store.
2. One, two and three fresh nodes pull at once what nobody has yet, against as many curls.
3. The same as 2 on hosts of 10 and 50 Mb/s (root).
4. Resident memory of an idle daemon, and the cold start of `dfget --version`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dragonfly.client.local import LocalDaemon
from dragonfly.core.task import TaskSpec
from dragonfly.wire.local import DownloadRequest
from rig.dragonfly import Dragonfly
from rig.loopback import Daemon, Loopback, Supernode, command, curls
from rig.meters import process_cpu, process_memory
from rig.namespaces import RigError
from rig.runner import measure
from rig.scenario import Scenario
from rig.systems import Native

Row = dict[str, Any]


def warm(folder: Path, size: int) -> None:
    """Touch `size` bytes of page cache, and free them.

    A virtual machine hands memory that has been free for some seconds back to its host, and
    is slow at its next touch (0.5 instead of 3 GB/s where this was written). That would
    count against whoever comes later or writes more, so it is done right before each timed run.
    """
    body = bytes(1 << 20)
    with open(folder / "warm", "wb", buffering=0) as file:
        for _ in range(0, size, len(body)):
            file.write(body)
    (folder / "warm").unlink()


def into_store(daemons: Sequence[Daemon], urls: Sequence[str]) -> float:
    """Seconds until each daemon has all of `urls`, verified, in its store; no client takes the bytes."""

    def fetch(daemon: Daemon, url: str) -> None:
        request = DownloadRequest(spec=TaskSpec(url=url, digest=url.rpartition("/")[2]))
        with LocalDaemon(daemon.folder).download(request) as words:
            for _ in words:
                pass

    began = time.perf_counter()
    with ThreadPoolExecutor(len(daemons) * len(urls)) as pool:
        for one in [pool.submit(fetch, daemon, url) for daemon in daemons for url in urls]:
            one.result()
    return time.perf_counter() - began


def between_two(home: Loopback, size: int, blobs: int, repeat: int) -> Row:
    """Pulls of what one other daemon has, `blobs` at once, `size` bytes in all."""
    each = size // blobs
    urls = [home.blob(each, 100 * blobs + i) for i in range(blobs)]
    outputs = [home.work / f"out-{i}" for i in range(blobs)]
    direct: list[float] = []
    through: list[float] = []
    stored: list[float] = []
    taking: list[float] = []
    storing: list[float] = []
    giving: list[float] = []
    with home.supernode() as supernode:
        giver = supernode.daemon()
        # In a data centre it knows from other pulls how fast nodes receive, and cuts by that.
        curls([(home.blob(256 << 20, 99), outputs[0], giver.proxy)], check=False)
        time.sleep(0.5)
        curls([(url, out, giver.proxy) for url, out in zip(urls, outputs, strict=True)], check=False)
        time.sleep(1.0)

        def timed(what: Callable[[Daemon], float], cpu: list[float]) -> float:
            """A run with a fresh daemon; CPU seconds per GB of it go to `cpu`, those of the givers to `giving`."""
            taker = supernode.daemon()
            time.sleep(0.5)
            nodes: list[Daemon | Supernode] = [taker, giver, supernode]
            warm(home.work, 2 * size)
            before = [process_cpu(one.pid) for one in nodes]
            took = what(taker)
            time.sleep(0.2)
            spent = [process_cpu(one.pid) - was for one, was in zip(nodes, before, strict=True)]
            cpu.append(spent[0] / (size / 1e9))
            giving.append((spent[1] + spent[2]) / (size / 1e9))
            taker.stop()
            return took

        def by_curl(taker: Daemon) -> float:
            return curls([(url, out, taker.proxy) for url, out in zip(urls, outputs, strict=True)])

        for _ in range(repeat):
            warm(home.work, 2 * size)
            direct.append(curls([(url, out, "") for url, out in zip(urls, outputs, strict=True)]))
            through.append(timed(by_curl, taking))
            stored.append(timed(lambda taker: into_store([taker], urls), storing))
    fast, ours, alone = statistics.median(direct), statistics.median(through), statistics.median(stored)
    return {
        "what": f"{blobs} × {each / 2**20:.0f} MiB that one daemon has",
        "curl_from_nginx_s": round(fast, 3),
        "through_daemon_s": round(ours, 3),
        "speed_ratio": round(fast / ours, 3),
        "best_ratio": round(min(direct) / min(through), 3),
        "gb_per_s": round(size / 1e9 / ours, 2),
        "taking_cpu_s_per_gb": round(statistics.median(taking), 2),
        "giving_cpu_s_per_gb": round(statistics.median(giving), 2),
        "into_store_s": round(alone, 3),
        "store_speed_ratio": round(fast / alone, 3),
        "store_gb_per_s": round(size / 1e9 / alone, 2),
        "store_cpu_s_per_gb": round(statistics.median(storing), 2),
    }


def few_nodes(home: Loopback, size: int, nodes: int, repeat: int) -> Row:
    """`nodes` fresh daemons pull at once what nobody has, against as many curls from nginx."""
    direct, through = [], []
    outputs = [home.work / f"out-{i}" for i in range(nodes)]
    for round_ in range(repeat):
        url = home.blob(size, 1000 + 10 * nodes + round_)
        warm(home.work, (2 * nodes + 2) * size)
        direct.append(curls([(url, out, "") for out in outputs]))
        with home.supernode() as supernode:
            daemons = [supernode.daemon() for _ in range(nodes)]
            time.sleep(1.0)
            warm(home.work, (2 * nodes + 2) * size)
            through.append(curls([(url, out, d.proxy) for out, d in zip(outputs, daemons, strict=True)]))
    fast, ours = statistics.median(direct), statistics.median(through)
    return {
        "what": f"{nodes} fresh node{'s' if nodes > 1 else ''}, {size / 2**20:.0f} MiB, loopback",
        "curl_from_nginx_s": round(fast, 3),
        "through_daemon_s": round(ours, 3),
        "time_ratio": round(ours / fast, 3),
    }


def limited_nodes(nodes: int, mbit: float, size: int, net: int) -> Row:
    """The same on hosts with limited links."""
    scenario = Scenario(name="few", clients=nodes, size=size, client_mbit=mbit)
    took = {}
    for system in (Native(), Dragonfly()):
        result = measure(scenario, system, prefix="dfs", net=net)
        if result["efficiency"] is None:
            raise RigError(f"{system.name}: {result['failures']}")
        took[system.name] = result["makespan_s"]
    return {
        "what": f"{nodes} fresh node{'s' if nodes > 1 else ''}, {size / 1e6:.0f} MB, links of {mbit:g} Mb/s",
        "curl_from_nginx_s": took["native"],
        "through_daemon_s": took["dragonfly"],
        "time_ratio": round(took["dragonfly"] / took["native"], 3),
    }


def idle_memory(home: Loopback) -> Row:
    with home.supernode() as supernode:
        daemon = supernode.daemon()
        time.sleep(3.0)
        resident, anonymous = process_memory(daemon.pid)
        seed, _ = process_memory(supernode.pid)
    return {
        "what": "idle daemon",
        "resident_mib": round(resident / 2**20, 1),
        "anonymous_mib": round(anonymous / 2**20, 1),
        "supernode_resident_mib": round(seed / 2**20, 1),
    }


def cold_start(repeat: int) -> Row:
    """Whole process, from start to exit; compared with an interpreter that does nothing."""

    def took(argv: list[str]) -> float:
        began = time.perf_counter()
        subprocess.run(argv, check=True, capture_output=True)
        return (time.perf_counter() - began) * 1000

    bare = [took([sys.executable, "-c", ""]) for _ in range(repeat)]
    ours = [took([command("dfget"), "--version"]) for _ in range(repeat)]
    return {
        "what": "dfget --version",
        "median_ms": round(statistics.median(ours), 1),
        "least_ms": round(min(ours), 1),
        "bare_python_ms": round(statistics.median(bare), 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 MiB, once, loopback only")
    parser.add_argument("--only", nargs="+", choices=["two", "few", "rig", "idle"], help="some parts")
    parser.add_argument("--size-mib", type=int, help="of the blob (1024)")
    parser.add_argument("--repeat", type=int, help="times each is done; medians are shown (3)")
    parser.add_argument("--blobs", type=int, nargs="+", default=[1, 4, 8], help="so many at once, in part 1")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/dragonfly-bench"), help="on the disk to measure")
    parser.add_argument("--net", type=int, default=79, help="second byte of the rig's addresses")
    parser.add_argument("--json", type=Path, default=Path("bench/results/single.jsonl"))
    args = parser.parse_args(argv)
    size = (args.size_mib or (256 if args.quick else 1024)) << 20
    repeat = args.repeat or (1 if args.quick else 3)
    parts = args.only or (["two", "few", "idle"] if args.quick else ["two", "few", "rig", "idle"])
    args.json.parent.mkdir(parents=True, exist_ok=True)

    def say(row: Row) -> None:
        with open(args.json, "a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['what']}: " + ", ".join(f"{k} {v}" for k, v in row.items() if k != "what"), flush=True)

    with Loopback(args.work) as home:
        if "two" in parts:
            for blobs in args.blobs:
                say(between_two(home, size, blobs, repeat))
        if "few" in parts:
            for nodes in (1, 2, 3):
                say(few_nodes(home, size // 4, nodes, repeat))
        if "idle" in parts:
            say(idle_memory(home))
            say(cold_start(10))
    if "rig" in parts:
        for mbit in (10.0, 50.0):
            for nodes in (1, 2, 3):
                say(limited_nodes(nodes, mbit, int(mbit * 2e6), args.net))
    return 0


if __name__ == "__main__":
    sys.exit(main())
