"""The console in a real browser: it shows what the supernode knows, and loads nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dragonfly.testing.origin import Origin

MAIN = [sys.executable, "-m", "dragonfly.cli.main"]
BROWSER = [
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--enable-logging=stderr",
    "--virtual-time-budget=4000", "--dump-dom",
]  # fmt: skip


@pytest.fixture
def supernode(tmp_path: Path) -> Iterator[str]:
    """Its URL."""
    process = subprocess.Popen(
        [*MAIN, "supernode", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--data-dir", str(tmp_path)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"supernode\.ready listen=(\S+)", line):
                break
        else:
            raise AssertionError("it did not start")
        yield f"http://{found[1]}"
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


@pytest.mark.needs("chromium")
def test_it_shows_tasks_nodes_and_preheats(supernode: str, tmp_path: Path) -> None:
    with Origin() as origin:
        url = origin.serve("/model", b"x" * 1_500_000) + "?<b>bold</b>=1"
        subprocess.run([*MAIN, "preheat", "--supernode", supernode, "--type", "file", url], check=True, timeout=30)
    shown = subprocess.run(
        [*BROWSER, f"--user-data-dir={tmp_path / 'browser'}", supernode + "/"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    page = shown.stdout
    assert re.search(r'id="state"[^>]*>up \d+ s<', page), shown.stderr
    assert "<dt>read from sources</dt><dd>1.50 MB</dd>" in page
    assert f"{origin.url('/model')}?&lt;b&gt;bold&lt;/b&gt;=…" in page, "what others name is text, not markup"
    assert re.search(r"<td>1\.50 MB</td><td>ready</td>", page)
    assert "(seed)" in page
    assert "<td>SUCCESS</td><td>1 / 1</td>" in page
    assert "CONSOLE" not in shown.stderr, shown.stderr
