"""What the machine and its processes spend: CPU from /proc/stat, CPU and memory per process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cpu", "Sampler", "cpu_between", "cpu_ticks", "memory_available", "process_cpu", "process_memory"]

_HZ = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """CPU seconds of the whole machine. `steal` was taken by the hypervisor."""

    user: float
    kernel: float
    steal: float

    @property
    def busy(self) -> float:
        return self.user + self.kernel + self.steal


def cpu_ticks() -> list[int]:
    """Ticks so far, all CPUs: user nice system idle iowait irq softirq steal."""
    return [int(cell) for cell in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def cpu_between(before: Sequence[int], after: Sequence[int]) -> Cpu:
    user, nice, system, _idle, _wait, irq, softirq, steal = ((b - a) / _HZ for a, b in zip(before, after, strict=True))
    return Cpu(user + nice, system + irq + softirq, steal)


def memory_available() -> int:
    """Bytes that can be used without swapping."""
    words = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * int(words["MemAvailable"].split()[0])


def process_cpu(pid: int) -> float:
    """CPU seconds of a live process and of its reaped children; 0.0 once it is gone."""
    try:
        cells = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(x) for x in cells[11:15]) / _HZ


def process_memory(pid: int) -> tuple[int, int]:
    """(resident, of that not backed by files) bytes of a live process; zeros once it is gone."""
    found = {"VmRSS": 0, "RssAnon": 0}
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0]) * 1024
    except OSError:
        pass
    return found["VmRSS"], found["RssAnon"]


class Sampler(threading.Thread):
    """Once a second: how busy the machine is, and the memory of some processes."""

    def __init__(self, pids: Callable[[], Sequence[int]]) -> None:
        super().__init__(daemon=True)
        self.busy: list[float] = []
        self.resident: dict[int, int] = {}
        """Largest resident size seen of each process, in bytes."""
        self.anonymous: dict[int, int] = {}
        self._pids = pids
        self._halt = threading.Event()

    def sample_memory(self) -> None:
        for pid in self._pids():
            resident, anonymous = process_memory(pid)
            self.resident[pid] = max(resident, self.resident.get(pid, 0))
            self.anonymous[pid] = max(anonymous, self.anonymous.get(pid, 0))

    def run(self) -> None:
        cpus = os.cpu_count() or 1
        before, t0 = cpu_ticks(), time.monotonic()
        while not self._halt.wait(1.0):
            after, t1 = cpu_ticks(), time.monotonic()
            self.busy.append(cpu_between(before, after).busy / (t1 - t0) / cpus)
            before, t0 = after, t1
            self.sample_memory()

    def halt(self) -> None:
        self._halt.set()
        self.join()
        self.sample_memory()
