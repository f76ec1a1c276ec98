#!/usr/bin/env python3
"""How many daemons one supernode process holds on one core.

    load.py                                 1,000, 3,000 and 10,000 daemons, one task
    load.py --daemons 300 --seconds 10      a quick look

A real supernode is pinned to one core; simulated daemons in other processes speak the real
control protocol to it (see control/daemons.py). They connect, join within --join-over
seconds, report their progress as often as the supernode wants to hear it, once ask for more
neighbours in the midst, and finish. Told are: messages per daemon and second in both
directions while the pull runs, the time from Join and from MoreNeighbours to neighbours as
the daemon sees it, resident memory, and the core's use while joining and while pulling.
`longest` and P99 of `probe` are the supernode's pauses: a request for /healthz each 20 ms
while daemons join and pull. `generator` are those of the measuring side, to tell them apart.
`--join-over 1 --source-wait 5` has all wait at once for what the source says.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from control.daemons import Plan, Tally
from rig.meters import process_cpu, process_memory
from rig.report import percentile

_HERE = Path(__file__).parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def raise_limits() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        most = max(most, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Probe(threading.Thread):
    """Asks the supernode for /healthz all the time from `start_at` on; `seconds` are the answers' times."""

    def __init__(self, port: int, start_at: float) -> None:
        super().__init__(daemon=True)
        self._port, self._start_at = port, start_at
        self._end = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        self._end.wait(self._start_at - time.time())
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._end.wait(0.02):
            asked = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            self.seconds.append(time.perf_counter() - asked)
        connection.close()

    def end(self) -> list[float]:
        self._end.set()
        self.join(30)
        return sorted(self.seconds)


@contextmanager
def origin(size: int, wait: float) -> Iterator[tuple[str, str]]:
    """A source with one blob of `size` bytes, each answer of which takes `wait` s; yields its URL and digest."""
    body = random.Random(1).randbytes(size)
    digest = hashlib.sha256(body).hexdigest()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(wait)
            start, end = 0, size
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes="):
                low, _, high = asked[6:].partition("-")
                start, end = int(low or 0), min(size, int(high) + 1 if high else size)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[start:end])

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v2/load/blobs/sha256:{digest}", f"sha256:{digest}"
    finally:
        server.shutdown()


@contextmanager
def supernode(core: int, more: Sequence[str]) -> Iterator[tuple[int, int]]:
    """A supernode on one core; yields its process id and control port."""
    command = shutil.which(str(Path(sys.executable).parent / "supernode")) or shutil.which("supernode")
    if command is None:
        raise SystemExit("no command 'supernode'; install the project")
    port, folder = free_port(), tempfile.mkdtemp(prefix="dragonfly-load-")
    argv = [command, "--listen", f"127.0.0.1:{port}", "--peer-listen", f"127.0.0.1:{free_port()}"]
    argv += ["--advertise", "127.0.0.1", "--data-dir", folder, "--log-level", "warning", *more]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    try:
        deadline = time.monotonic() + 15
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the supernode did not come up")
            time.sleep(0.1)
        yield process.pid, port
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def measure(count: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row: `count` daemons against a fresh supernode."""
    cores = sorted(os.sched_getaffinity(0))
    with origin(20_000_000, args.source_wait) as (url, digest), supernode(cores[0], args.supernode_arg) as (pid, port):
        now = time.time()
        connect_at = now + 2 + count / 2000
        join_at = connect_at + max(2.0, count / args.connect_rate) + 1
        pull_at = join_at + args.join_over
        end_at = pull_at + args.seconds + 2
        per = -(-count // args.processes)
        plans = [
            Plan(
                port=port, first=first, count=min(per, count - first), url=url, digest=digest,
                connect_at=connect_at, connect_over_s=count / args.connect_rate, join_at=join_at,
                join_over_s=args.join_over, pull_s=args.seconds, end_at=end_at,
            )
            for first in range(0, count, per)
        ]  # fmt: skip
        others = set(cores[1:]) or set(cores)
        generators = [
            subprocess.Popen(
                [sys.executable, "-m", "control.daemons", msgspec.json.encode(plan).decode()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                cwd=_HERE,
                preexec_fn=lambda: os.sched_setaffinity(0, others),
            )
            for plan in plans
        ]
        probe = Probe(port, join_at)
        probe.start()
        at = {}
        most = 0
        for name, moment in (("join", join_at), ("pull", pull_at), ("end", pull_at + args.seconds - 1)):
            while time.time() < moment:
                time.sleep(0.2)
                most = max(most, process_memory(pid)[0])
            at[name] = (time.time(), process_cpu(pid))
        probed = probe.end()
        tallies = [msgspec.json.decode(g.communicate(timeout=60)[0], type=Tally) for g in generators]
    return summarise(count, tallies, probed, at, most, args)


def summarise(
    count: int,
    tallies: list[Tally],
    probed: list[float],
    at: dict[str, tuple[float, float]],
    most: int,
    args: argparse.Namespace,
) -> dict[str, Any]:
    join = sorted(s for tally in tallies for s in tally.join_s)
    more = sorted(s for tally in tallies for s in tally.more_s)
    degrees = sorted(n for tally in tallies for n in tally.neighbours)
    errors: dict[str, int] = {}
    for tally in tallies:
        for why, times in tally.errors.items():
            errors[why] = errors.get(why, 0) + times

    def total(field: str) -> int:
        return sum(int(getattr(tally, field)) for tally in tallies)

    def share(start: str, end: str) -> float:
        return round((at[end][1] - at[start][1]) / (at[end][0] - at[start][0]), 3)

    def ms(values: list[float], q: float) -> float | None:
        return round(percentile(values, q) * 1000, 1) if values else None

    seconds = args.seconds
    return {
        "daemons": count,
        "connected": total("connected"),
        "given": total("given"),
        "closed": total("closed"),
        "join_over_s": args.join_over,
        "join_p50_ms": ms(join, 0.5),
        "join_p99_ms": ms(join, 0.99),
        "more_p50_ms": ms(more, 0.5),
        "more_p99_ms": ms(more, 0.99),
        "probe_p99_ms": ms(probed, 0.99),
        "probe_longest_ms": ms(probed, 1),
        "generator_longest_ms": round(max(tally.late_s for tally in tallies) * 1000, 1),
        "to_supernode_per_s": round(total("sent") / count / seconds, 3),
        "to_daemon_per_s": round(total("heard") / count / seconds, 3),
        "least_neighbours": degrees[0] if degrees else 0,
        "most_neighbours": degrees[-1] if degrees else 0,
        "resident_mib": round(most / 2**20, 1),
        "core_joining": share("join", "pull"),
        "core_pulling": share("pull", "end"),
        "generator_cpu_s": round(sum(tally.cpu_s for tally in tallies), 1),
        "errors": errors,
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--daemons", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--seconds", type=float, default=30, help="how long each simulated pull takes (30)")
    parser.add_argument("--join-over", type=float, default=10, help="joins are spread over so many seconds (10)")
    parser.add_argument("--source-wait", type=float, default=0, help="seconds before the source answers (0)")
    parser.add_argument("--connect-rate", type=float, default=500, help="connections made per second (500)")
    parser.add_argument("--processes", type=int, default=3, help="generator processes (3)")
    parser.add_argument("--supernode-arg", action="append", default=[], help="passed on to the supernode")
    parser.add_argument("--json", type=Path, default=Path("bench/results/load.jsonl"))
    args = parser.parse_args(argv)
    raise_limits()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the supernode ends with it
    args.json.parent.mkdir(parents=True, exist_ok=True)
    whole = True
    for number, count in enumerate(args.daemons):
        row = measure(count, args)
        with open(args.json, "a") as file:
            file.write(json.dumps(row) + "\n")
        if number == 0:
            print("| " + " | ".join(row) + " |\n|" + "---:|" * len(row))
        print("| " + " | ".join(str(value) for value in row.values()) + " |", flush=True)
        whole &= row["given"] == count
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
