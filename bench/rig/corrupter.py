"""Ruins what a daemon has stored, while it serves it: `corrupter.py DATA_DIR`.

Every 20 ms it flips one byte in each 4 KiB of every large file of the store, as a failing
disk would. What the daemon sends is wrong then, though it verified it when it came.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

_STEP = 4096


def ruin(path: Path) -> None:
    """Flip one byte of each block that is not a hole."""
    with open(path, "r+b", buffering=0) as file:
        at, end = 0, file.seek(0, os.SEEK_END)
        while at < end:
            at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            for spot in range(at, hole, _STEP):
                byte = os.pread(file.fileno(), 1, spot)
                os.pwrite(file.fileno(), bytes([byte[0] ^ 0xFF]) if byte else b"!", spot)
            at = hole


def main(folder: str) -> None:
    while True:
        for path in Path(folder).rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and path.stat().st_size >= 1_000_000:
                    ruin(path)
        time.sleep(0.02)


if __name__ == "__main__":
    main(sys.argv[1])
