"""The node itself: disk, descriptors, the CA's files."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509

from dragonfly.core.units import format_duration, format_size
from dragonfly.daemon.doctor.finding import Finding, bad, good, note

__all__ = ["authority", "descriptors", "disk"]

_FEW_DESCRIPTORS = 8192
_LITTLE_DISK = 0.05
_LEAST_FREE = 1_000_000_000  # what the store leaves free for others, where that is not more than a twentieth


def disk(data_dir: Path) -> Iterator[Finding]:
    try:
        usage = shutil.disk_usage(data_dir)
        inodes = os.statvfs(data_dir)
    except OSError as error:
        yield bad("disk", f"{data_dir}: {error.strerror}", "name the daemon's --data-dir")
        return
    detail = f"{format_size(usage.free)} free of {format_size(usage.total)} at {data_dir}"
    if inodes.f_flag & os.ST_RDONLY:
        yield bad(
            "disk",
            f"{data_dir} is read-only",
            "see dmesg for errors of the disk; mount -o remount,rw, or another --data-dir",
        )
    elif usage.free < min(_LEAST_FREE, _LITTLE_DISK * usage.total):
        yield bad("disk", detail, "free some, or set --disk-limit below what is there")
    elif usage.free < _LITTLE_DISK * usage.total:
        yield note("disk", detail, "less is kept of what was pulled; free some")
    elif inodes.f_files and inodes.f_favail == 0:
        yield bad("disk", f"no inode free at {data_dir}", "delete small files there")
    elif not os.access(data_dir, os.W_OK):
        yield note("disk", f"{detail}; not writable for you", "run the doctor as the daemon's user")
    else:
        yield good("disk", detail)


def descriptors(pid: int) -> Iterator[Finding]:
    """Open files that the daemon may have: each neighbour of each task is one."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except OSError:
        yield note("descriptors", "can't be read", "run the doctor as root")
        return
    words = next(line for line in lines if line.startswith("Max open files")).split()
    limit = int(words[3]) if words[3].isdecimal() else _FEW_DESCRIPTORS
    if limit < _FEW_DESCRIPTORS:
        yield note(
            "descriptors", f"{limit} open files", f"raise LimitNOFILE (or ulimit -n) to {_FEW_DESCRIPTORS} or more"
        )
    else:
        yield good("descriptors", f"{limit} open files")


def authority(ca: Path) -> Iterator[Finding]:
    """The daemon's CA: there, valid, its key for its owner only."""
    try:
        certificate = x509.load_pem_x509_certificate(ca.read_bytes())
    except OSError as error:
        yield bad("CA", f"{ca}: {error.strerror}", "start dfdaemon once with this --data-dir: it makes the CA")
        return
    except ValueError:
        yield bad(
            "CA", f"{ca}: not a certificate", f"remove {ca.parent} and restart dfdaemon, then set clients up again"
        )
        return
    left = certificate.not_valid_after_utc.timestamp() - time.time()
    began = certificate.not_valid_before_utc.timestamp() - time.time()
    if left <= 0:
        yield bad("CA", "it has expired", f"remove {ca.parent} and restart dfdaemon, then set clients up again")
    elif began > 0:
        yield bad("CA", "it is not valid yet", "set this machine's clock")
    else:
        yield good("CA", f"{ca}, valid for {format_duration(left)}")
    key = ca.with_name("ca.key")
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except OSError:
        return
    if mode & 0o077:
        yield bad("CA key", f"others may use it (mode {mode:o})", f"chmod 600 {key}")
