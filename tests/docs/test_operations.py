"""docs/operations.md: ports and files as they are by default."""

from __future__ import annotations

import re
from pathlib import Path

from docs.pages import SOURCE, code, page, rows
from dragonfly.config.schema import NodeSettings
from dragonfly.daemon.settings import DaemonSettings
from dragonfly.supernode.settings import SupernodeSettings

PAGE = "docs/operations.md"


def test_ports() -> None:
    supernode, daemon = SupernodeSettings(), DaemonSettings()
    expected = {
        ("supernode", supernode.listen.rpartition(":")[2]),
        ("supernode", supernode.peer_listen.rpartition(":")[2]),
        ("dfdaemon", daemon.listen.rpartition(":")[2]),
        ("dfdaemon", NodeSettings().peer_listen.rpartition(":")[2]),
    }
    assert {(row[1], row[0].split()[0]) for row in rows(PAGE, "Ports")} == expected


def test_files_are_called_so_in_the_code() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in Path(SOURCE).rglob("*.py"))
    for row in rows(PAGE, "What is kept where"):
        (name,) = code(row[0])
        assert f'"{name.rstrip("/")}"' in text, name


def test_files_of_deploy_that_are_named_exist() -> None:
    deploy = Path(SOURCE).parents[1] / "deploy"
    names = {path.name for path in deploy.rglob("*")}
    for name in re.findall(r"`(?:deploy/)?([\w.-]+\.conf|systemd)`", page(PAGE)):
        assert name in names, name
