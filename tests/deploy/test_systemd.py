"""systemd's own judgement of our units."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.fixture(params=["dragonfly-supernode.service", "dfdaemon.service"])
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The unit with programs that exist here: `verify` asks that ExecStart does."""
    text = (UNITS / request.param).read_text()
    for program in ("supernode", "dfdaemon"):
        text = text.replace(f"ExecStart=/usr/bin/{program} ", "ExecStart=/bin/true ")
    path = tmp_path / request.param
    path.write_text(text)
    return path


def test_verify_finds_nothing(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


def test_exposure_is_low(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-500:] + done.stderr


def test_the_boot_id_stays_readable(unit: Path) -> None:
    """ProcSubset=pid hides /proc/sys, from which the store reads the boot's identity."""
    assert "\nProcSubset=pid" not in unit.read_text()
