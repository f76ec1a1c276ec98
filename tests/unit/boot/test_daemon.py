from __future__ import annotations

from pathlib import Path

from dragonfly.client import Client


def test_a_daemon_that_made_its_ca_does_not_keep_what_makes_keys_in_memory(data_dir: Path) -> None:
    status = Client(data_dir).status()
    assert status is not None
    assert (data_dir / "ca" / "ca.crt").exists()
    assert "cryptography" not in Path(f"/proc/{status.pid}/maps").read_text()
