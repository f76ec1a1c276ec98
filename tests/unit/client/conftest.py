"""A daemon as its own process, and an origin that does what it is told."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragonfly.client.local import LocalDaemon
from dragonfly.testing.origin import Origin

CONTENT = random.Random("dfget").randbytes(1_500_000)


@pytest.fixture(scope="session")
def content() -> bytes:
    return CONTENT


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as one:
        one.serve("/f", CONTENT, etag='"1"')
        one.serve("/chunked", CONTENT, chunked=True)
        yield one


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """Of a running daemon. A short path: a socket's name has room for 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="df-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "dragonfly.cli.main", "daemon", "--data-dir", folder]
        process = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--log-level", "error"]
        )
        try:
            end = time.monotonic() + 30
            while LocalDaemon(Path(folder)).status() is None:
                assert process.poll() is None, "the daemon ended"
                assert time.monotonic() < end, "the daemon does not answer"
                time.sleep(0.02)
            yield Path(folder)
        finally:
            process.terminate()
            process.wait(20)
