"""One measured distribution: start, wait, verify every file, count."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import select
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .hosts import Rig
from .links import Link
from .meters import Sampler, cpu_between, cpu_ticks, memory_available, process_cpu
from .report import Measured, Result, summarise
from .scenario import Scenario
from .systems import Job, System, wait_for

__all__ = ["measure"]


def measure(
    scenario: Scenario,
    system: System,
    *,
    prefix: str = "dfb",
    net: int = 78,
    work: Path | None = None,
    limit_s: float = 0,
    keep: bool = False,
) -> Result:
    """Build the hosts, run `system` once under `scenario`, take all away again.

    `work` is the base of the scratch folder: memory where half of it is enough, so that the
    disk is not what is measured. `limit_s`: give up after so long; by default 30 s and 60 times T*.
    """
    need = scenario.clients * scenario.size * 2
    folder = (work or Path("/dev/shm" if need < memory_available() / 2 else "/var/tmp")) / f"{prefix}-work"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with Rig(scenario.hosts, prefix=prefix, net=net, link=Link()) as rig:
            job = Job(rig, scenario, folder, system.options)
            job.prepare()
            return _Run(job, system, limit_s or 30 + 60 * scenario.bound).result()
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


class _Run:
    def __init__(self, job: Job, system: System, limit_s: float) -> None:
        self.job, self.system, self.limit_s = job, system, limit_s
        self.rig, self.scenario = job.rig, job.scenario
        self.clients: dict[int, subprocess.Popen[bytes]] = {}
        self.started: dict[int, float] = {}
        self.ended: dict[int, float] = {}
        self.bad: dict[int, str] = {}
        self._usage: dict[int, resource.struct_rusage] = {}
        self._poll = select.epoll()
        self._fds: dict[int, int] = {}

    # ---------------------------------------------------------------- the whole

    def result(self) -> Result:
        rig, system, job = self.rig, self.system, self.job
        system.setup(job)
        servers = list(rig.processes)
        if system.gated:
            for i in range(self.scenario.clients):
                self._spawn(i)
            ready = job.work / "ready"
            wait_for(lambda: len(os.listdir(ready)) >= self.scenario.clients, 180, "gated clients")
            time.sleep(1.0)
        peers = system.peer_pids(job)
        sampler = Sampler(lambda: peers or [p.pid for p in self.clients.values() if p.returncode is None])
        spent = {p.pid: process_cpu(p.pid) for p in rig.processes}
        before, ticks = rig.counters(), cpu_ticks()
        sampler.start()
        t0 = time.monotonic()
        self._go(t0)
        wall = time.monotonic() - t0
        after, ticks_after = rig.counters(), cpu_ticks()
        sampler.halt()
        for i in range(self.scenario.clients):
            if i not in self.ended:
                self.bad.setdefault(i, f"not done within {self.limit_s:.0f} s")
        own = sum(process_cpu(p.pid) - spent[p.pid] for p in servers if p.poll() is None)
        own += sum(u.ru_utime + u.ru_stime for u in self._usage.values())
        own += sum(process_cpu(p.pid) for p in self.clients.values() if p.returncode is None)
        own -= sum(spent.get(p.pid, 0.0) for p in self.clients.values())
        details = system.details(job)
        rig.stop_all()
        self._verify()
        for fd in self._fds:
            os.close(fd)
        self._poll.close()
        measured = Measured(
            wall=wall,
            started=self.started,
            ended=self.ended,
            bad=self.bad,
            sent={host: after[host].tx - before[host].tx for host in after},
            received={host: after[host].rx - before[host].rx for host in after},
            cpu=cpu_between(ticks, ticks_after),
            own_cpu=own,
            busiest=max(sampler.busy, default=0.0),
            resident=list(sampler.resident.values()),
            anonymous=list(sampler.anonymous.values()),
            details=details,
        )
        return summarise(self.system.name, self.job.options, self.scenario, measured)

    # ---------------------------------------------------------------- parts

    def _spawn(self, i: int) -> None:
        gated = self.system.gated
        with self.job.log(f"c{i}") as log:
            self.clients[i] = self.rig.start(
                f"c{i}",
                self.system.client_argv(self.job, i),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.PIPE if gated else subprocess.DEVNULL,
            )
        fd = os.pidfd_open(self.clients[i].pid)
        self._fds[fd] = i
        self._poll.register(fd, select.EPOLLIN)

    def _begin(self, i: int) -> None:
        self.started[i] = time.time()
        if not self.system.gated:
            self._spawn(i)
            return
        pipe = self.clients[i].stdin
        assert pipe is not None
        try:
            pipe.write(b"\n")
            pipe.close()
        except OSError as error:
            self.bad[i] = f"died before the start: {error}"

    def _go(self, t0: float) -> None:
        """Start clients and kill hosts when their time comes; wait until all that count are over."""
        plan = [(at, i, False) for i, at in enumerate(self.scenario.starts())]
        plan += [(at, i, True) for i, at in self.scenario.kill_times().items()]
        for at, i, kill in sorted(plan):
            while (pause := t0 + at - time.monotonic()) > 0:
                self._collect(pause)
            if kill:
                self.rig.kill_host(f"c{i}")
            else:
                self._begin(i)
        while not self._over() and (left := t0 + self.limit_s - time.monotonic()) > 0:
            self._collect(min(left, 5.0))

    def _over(self) -> bool:
        """All have started, and all that count are done: a client at a tenth of the rate is not waited for."""
        return len(self.started) == self.scenario.clients and not (
            set(self.scenario.counted) - self.ended.keys() - self.bad.keys()
        )

    def _collect(self, seconds: float) -> None:
        """Wait up to `seconds` for exits and marks; note who is done and who failed."""
        deadline = time.monotonic() + seconds
        while not self._over():
            left = max(0.0, deadline - time.monotonic())
            for fd, _ in self._poll.poll(min(left, 0.1) if self.system.marker else left):
                i = self._fds.pop(fd)
                self._poll.unregister(fd)
                os.close(fd)
                self._exited(i, time.time())
            if self.system.marker:
                for entry in os.scandir(self.job.work / "done"):
                    self.ended.setdefault(int(entry.name), entry.stat().st_mtime)
            if time.monotonic() >= deadline:
                return

    def _exited(self, i: int, now: float) -> None:
        process = self.clients[i]
        with contextlib.suppress(ChildProcessError):
            _, status, self._usage[i] = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode == 0 and not self.system.marker:
            self.ended[i] = now
        elif not (self.system.marker and self.job.done(i).exists()):
            words = (self.job.work / "logs" / f"c{i}").read_text(errors="replace").strip()[-200:]
            self.bad[i] = f"exit {process.returncode} {words}".strip()

    def _verify(self) -> None:
        """Every file of every client that ended well has the right digest."""

        def right(i: int) -> bool:
            pairs = zip(self.job.outputs(i), self.job.blobs, strict=True)
            return all(_sha256(path) == blob.hex for path, blob in pairs)

        good = sorted(self.ended)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for i, ok in zip(good, pool.map(right, good), strict=True):
                if not ok:
                    self.bad[i] = "sha256 differs"


def _sha256(path: Path) -> str:
    """Digest of a file; "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
