"""What the commands say and how they end, without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dragonfly import __version__
from dragonfly.cli.exits import Exit, exit_for
from dragonfly.cli.main import SUBCOMMANDS, umbrella
from dragonfly.cli.options import settings_options
from dragonfly.config.load import fields_of
from dragonfly.config.schema import DAEMON, SUPERNODE
from dragonfly.errors import (
    CapacityError,
    DragonflyError,
    IntegrityError,
    PeerError,
    SourceError,
    SourceUnreachable,
    StoppedError,
    UsageError,
)

PROGRAMS = ["supernode", "dfdaemon", "dfget", "dragonfly"]


def called(program: str, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from dragonfly.cli.main import {program}; sys.argv[0] = {program!r}; {program}()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, env=env, check=False
    )


def bad_usage(program: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """The last line said; it is the only one but for click's own usage text."""
    ended = called(program, *arguments, env=env)
    assert ended.returncode == Exit.USAGE, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
    return ended.stderr.rstrip("\n").split("\n")[-1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("x"), 2),
        (IntegrityError("x"), 3),
        (SourceError("x", status=404), 4),
        (SourceUnreachable("x", status=503), 4),
        (SourceUnreachable("x"), 1),
        (CapacityError("x"), 1),
        (PeerError("x"), 1),
        (StoppedError("x"), 1),
        (DragonflyError("x"), 1),
    ],
)
def test_exit_statuses(error: DragonflyError, status: int) -> None:
    assert exit_for(error) == status


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_version(program: str) -> None:
    ended = called(program, "--version")
    assert (ended.returncode, ended.stdout) == (0, f"{program}, version {__version__}\n")


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help(name: str) -> None:
    for arguments in ([name, "--help"], [name, "-h"]):
        result = CliRunner().invoke(umbrella, arguments)
        if result.exit_code == 0:
            assert "Usage:" in result.output
            return
    raise AssertionError(result.output)


def test_help_lists_the_subcommands() -> None:
    result = CliRunner().invoke(umbrella, ["--help"])
    assert all(name in result.output for name in SUBCOMMANDS)


def test_an_unknown_subcommand_or_flag_is_bad_usage() -> None:
    assert "No such command" in bad_usage("dragonfly", "fly")
    assert "No such option" in bad_usage("dfdaemon", "--disk-limt", "5")


def test_bad_settings_are_one_line_and_nothing_starts(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("disk_limt: 5")
    line = bad_usage("dfdaemon", "--config", str(file), "--data-dir", str(tmp_path / "d"))
    assert line == f"dfdaemon: an unknown key: 'disk_limt' in {file}; did you mean 'disk_limit'?"
    assert "upload_limit = 'x'" in bad_usage("supernode", "--upload-limit", "x")
    assert "not a supernode: 'h:x'" in bad_usage("dfdaemon", "--supernode", "h:x", "--data-dir", str(tmp_path / "d"))
    assert "--listen" in bad_usage("supernode", "--listen", "nowhere", "--data-dir", str(tmp_path / "d"))
    assert not (tmp_path / "d").exists()


def test_a_data_dir_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    assert "--data-dir" in bad_usage("dfdaemon", "--data-dir", str(tmp_path / "f"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["http://[::1"],
        ["http://h:99999/x"],
        ["http://h:x/"],
        ["nonsense"],
        [""],
        ["ftp://u:secret@h/x?sig=secret"],
        ["http://127.0.0.1:9/x", "-H", "no colon"],
        ["http://127.0.0.1:9/x", "--range", "9-1"],
        ["http://127.0.0.1:9/x", "--range", "x"],
        ["http://127.0.0.1:9/x", "--digest", "sha256:12"],
        ["http://127.0.0.1:9/x", "--digest", "md9:12"],
        ["http://127.0.0.1:9/x", "--timeout", "soon"],
        ["http://127.0.0.1:9/x", "--limit-rate", "fast"],
        ["http://127.0.0.1:9/x", "--supernode", "h:x"],
        [],
    ],
    ids=" ".join,
)
def test_dfget_used_badly(tmp_path: Path, arguments: list[str]) -> None:
    line = bad_usage(
        "dfget", *arguments, "-o", str(tmp_path / "out"), "--data-dir", str(tmp_path / "d"), "--seed-time", "1s"
    )
    assert "secret" not in line
    assert not (tmp_path / "out").exists()


def test_every_setting_that_fits_on_a_line_is_a_flag() -> None:
    for command, in_files_only in (
        (SUPERNODE, {"scheduler"}),
        (DAEMON, {"registries", "rules", "hijack", "permit"}),
    ):

        @settings_options(command)
        def function() -> None: ...

        flags = {parameter.name for parameter in function.__click_params__}  # type: ignore[attr-defined]
        keys = {name for kind in command.flat for name in fields_of(kind)}
        assert keys - flags == in_files_only
        assert flags - keys == {"config"}


def test_config_show_says_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    file = _written(tmp_path / "f", "{join_token: hush, zone: z, store: {ttl_s: 1h}}")
    shown = CliRunner().invoke(umbrella, ["config", "show", "supernode", "--config", file])
    tree = yaml.safe_load(shown.output)
    assert (tree["zone"], tree["store"]["ttl_s"], tree["join_token"], tree["api_token"]) == ("z", 3600.0, "(set)", "")
    assert "hush" not in shown.output


def test_who_asks_where_no_daemon_runs_hears_what_to_do(tmp_path: Path) -> None:
    for words in (["cache", "ls"], ["cache", "stat"], ["cache", "rm", "x"], ["trace", "x"], ["top"]):
        line = bad_usage("dragonfly", *words, "--data-dir", str(tmp_path))
        assert str(tmp_path) in line
        assert line.endswith("; start dfdaemon, or name its --data-dir")


def test_a_preheat_without_a_supernode_says_where_it_asked() -> None:
    told = called("dragonfly", "preheat", "http://a/b", "--supernode", "127.0.0.1:1")
    assert told.returncode == Exit.FAILED
    assert "http://127.0.0.1:1/api/v1/preheats (Connection refused); check --supernode" in told.stderr


def test_config_check_default_and_reference(tmp_path: Path) -> None:
    runner = CliRunner()
    for program in ("supernode", "dfdaemon", "dfget"):
        text = runner.invoke(umbrella, ["config", "default", program]).output
        (tmp_path / "f").write_text(text)
        result = runner.invoke(umbrella, ["config", "check", program, str(tmp_path / "f")])
        assert result.output == f"{tmp_path / 'f'}: good for {program}\n"
    assert "# Configuration" in runner.invoke(umbrella, ["config", "reference"]).output
    assert "map = 5" in bad_usage("dragonfly", "config", "check", "dfdaemon", _written(tmp_path / "bad", "map: 5"))


def test_ca(tmp_path: Path) -> None:
    assert "start dfdaemon once" in bad_usage("dragonfly", "ca", "--data-dir", str(tmp_path))
    (tmp_path / "ca").mkdir()
    pem = Path(_written(tmp_path / "ca" / "ca.crt", "-----BEGIN CERTIFICATE-----\n"))
    runner = CliRunner()
    assert runner.invoke(umbrella, ["ca", "--data-dir", str(tmp_path)]).output == pem.read_text()
    assert runner.invoke(umbrella, ["ca", "--data-dir", str(tmp_path), "--path"]).output == f"{pem}\n"


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)
