"""Paths and files of a host that is mounted somewhere, with links and folders that do not let us."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dragonfly.daemon.runtimes.host import Host
from dragonfly.errors import UsageError


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    return Host(tmp_path / "root")


def test_links_lead_where_they_lead_on_the_host(host: Host) -> None:
    (host.root / "opt/real").mkdir(parents=True)
    (host.root / "etc/a").symlink_to("/opt/real")
    (host.root / "etc/b").symlink_to("../../../../opt")
    (host.root / "opt/real/file").symlink_to("/etc/target")
    host.write("/etc/a/file", b"1")
    assert (host.root / "etc/target").read_bytes() == b"1"
    assert host.path("/etc/b/real/x") == host.root / "opt/real/x"
    assert host.path("/../../etc") == host.root / "etc"


def test_a_circle_of_links_is_an_error(host: Host) -> None:
    (host.root / "etc/a").symlink_to("b")
    (host.root / "etc/b").symlink_to("a")
    with pytest.raises(UsageError, match="without an end"):
        host.read("/etc/a")


def test_a_link_to_nowhere_is_no_file_and_its_target_is_made(host: Host) -> None:
    (host.root / "etc/a").symlink_to("/opt/target")
    assert host.read("/etc/a") is None
    host.write("/etc/a", b"x")
    assert (host.root / "opt/target").read_bytes() == b"x"
    host.write("/etc/a", None)
    assert (host.root / "etc/a").is_symlink()


def test_what_can_not_be_written_is_named_and_leaves_no_draft(host: Host) -> None:
    (host.root / "etc/docker").write_text("a file")
    with pytest.raises(UsageError, match=r"can't be written: .*daemon\.json"):
        host.write("/etc/docker/daemon.json", b"{}")
    (host.root / "etc/hosts").mkdir()
    with pytest.raises(UsageError, match="hosts"):
        host.write("/etc/hosts", b"x")
    with pytest.raises(UsageError, match="hosts"):
        host.write("/etc/hosts", None)
    assert sorted(os.listdir(host.root / "etc")) == ["docker", "hosts"]


def test_what_can_not_be_read_is_named(host: Host) -> None:
    (host.root / "etc/hosts").mkdir()
    with pytest.raises(UsageError, match=r"can't be read: .*hosts; Is a directory"):
        host.text("/etc/hosts")
    host.write("/etc/latin", "\xe4".encode("latin-1"))
    with pytest.raises(UsageError, match=r"not a text file: .*latin"):
        host.text("/etc/latin")
