"""Network namespaces: entering them, finding who is inside, removing them.

Nothing outside namespaces made here is changed: no sysctl of the machine, no route, no
firewall rule.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["RigError", "inside", "pids_in", "remove", "sysctl", "tool"]

_DIRECTORY = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class RigError(RuntimeError):
    """The rig could not be built, or a system under test did not come up."""


def tool(*argv: str, text: str | None = None, check: bool = True) -> str:
    """Run a tool, feed it `text`, return its output; RigError with its words if it fails."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RigError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()[:2000]}")
    return done.stdout


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Put the calling thread into a namespace for a while.

    Processes started and sockets made meanwhile stay there.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(_DIRECTORY / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def sysctl(leaf: str, value: str, *, must: bool = True) -> None:
    """Write a sysctl of the calling thread's network namespace."""
    try:
        Path("/proc/sys", leaf).write_text(value)
    except OSError:
        if must:
            raise


def pids_in(namespaces: list[str]) -> list[int]:
    """Processes, this one excepted, that live in one of these namespaces."""
    inodes = set()
    for name in namespaces:
        with contextlib.suppress(FileNotFoundError):  # its rig has just ended by itself
            inodes.add(os.stat(_DIRECTORY / name).st_ino)
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry.name}/ns/net").st_ino in inodes:
                    found.append(int(entry.name))
    return found


def remove(prefix: str) -> int:
    """Remove every namespace of a rig and end what still runs in it; returns how many. Idempotent."""
    pattern = re.compile(re.escape(prefix) + r"-(hub|c\d+|s\d+)")
    found = _DIRECTORY.glob(f"{prefix}-*") if _DIRECTORY.is_dir() else ()
    names = [path.name for path in found if pattern.fullmatch(path.name)]
    if not names:
        return 0
    for how in (signal.SIGTERM, signal.SIGKILL):
        pids = pids_in(names)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        deadline = time.monotonic() + 2
        while pids and time.monotonic() < deadline and (pids := pids_in(names)):
            time.sleep(0.05)
    tool("ip", "-force", "-batch", "-", text="".join(f"netns del {name}\n" for name in names), check=False)
    left = [name for name in names if (_DIRECTORY / name).exists()]
    if left:
        raise RigError(f"could not remove {left[:5]}")
    return len(names)
