"""What pages show can be typed as it stands: shell that parses, commands and flags that exist, settings that load."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from docs.pages import ROOT, Block, blocks, pages
from dragonfly.cli.main import SUBCOMMANDS, umbrella
from dragonfly.config.load import load
from dragonfly.config.schema import DAEMON, SUPERNODE

OURS = {"supernode": "supernode", "dfdaemon": "daemon", "dfget": "get", "dragonfly": ""}
SHELL = pytest.mark.parametrize("block", blocks("sh", "bash", "console"), ids=str)


def subcommand(group: click.Group, name: str) -> click.Command | None:
    return group.get_command(click.Context(group), name)


def typed(block: Block) -> list[list[str]]:
    """The words of each command of ours in a block of shell."""
    text = re.sub(r"<<'END'.*?^END$", "", block.text, flags=re.DOTALL | re.MULTILINE).replace("\\\n", " ")
    found = []
    for line in re.split(r"\n|&&|;|\||&$", text):
        words = shlex.split(line, comments=True, posix=True)
        while words and re.fullmatch(r"\w+=.*", words[0]):
            del words[0]
        if words and words[0].rpartition("/")[2] in OURS:
            found.append([words[0].rpartition("/")[2], *(word for word in words[1:] if word not in (">", "&"))])
    return found


@SHELL
def test_shell_parses(block: Block) -> None:
    told = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr


@SHELL
def test_commands_of_ours_exist_with_their_flags(block: Block) -> None:
    for program, *words in typed(block):
        command: click.Command | None = umbrella
        if OURS[program]:
            command = subcommand(umbrella, OURS[program])
        while isinstance(command, click.Group):
            assert words, f"{program} alone says nothing"
            command = subcommand(command, words.pop(0))
        assert command is not None, f"{block}: no such subcommand"
        flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        flags |= {"--help", "-h", "--version"}
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in flags, f"{block}: {program} has no {word}"


@SHELL
def test_goals_of_make_exist(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for goal in re.findall(r"^make ([a-z0-9-]+)", block.text, re.MULTILINE):
        assert re.search(rf"^{goal}:", makefile, re.MULTILINE), f"{block}: make {goal}"


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_parses(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_yaml_is_taken_by_the_program_that_it_names(block: Block, tmp_path: Path) -> None:
    """The first line says whose: `# dfdaemon.yaml` or `# supernode.yaml`; other YAML only has to parse."""
    assert yaml.safe_load(block.text)
    for command in (DAEMON, SUPERNODE):
        if block.text.startswith(f"# {command.name}.yaml"):
            file = tmp_path / "settings.yaml"
            file.write_text(block.text)
            assert load(command, flags={}, file=file, environ={}).given


@pytest.mark.parametrize("block", [block for block in blocks("sh") if "<<'END'" in block.text], ids=str)
def test_settings_that_a_block_writes_are_taken(block: Block, tmp_path: Path) -> None:
    for name, text in re.findall(r"cat > (\w+)\.yaml <<'END'\n(.*?)^END$", block.text, re.DOTALL | re.MULTILINE):
        file = tmp_path / "settings.yaml"
        file.write_text(text)
        command = {"dfdaemon": DAEMON, "supernode": SUPERNODE}[name]
        assert load(command, flags={}, file=file, environ={}).given


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("name", pages())
def test_subcommands_named_in_a_sentence_exist(name: str) -> None:
    for words in re.findall(r"`dragonfly ([a-z][a-z ]*)", pages()[name]):
        first, *more = words.split()
        assert first in SUBCOMMANDS or (first == "debug" and name == "docs/comparison.md"), f"{name}: dragonfly {words}"
        command = subcommand(umbrella, first)
        if isinstance(command, click.Group) and more:
            assert subcommand(command, more[0]) is not None, f"{name}: dragonfly {words}"


@pytest.mark.parametrize("block", [block for block in blocks("") if block.text.strip()], ids=str)
def test_a_block_says_what_it_is(block: Block) -> None:
    """Drawings have no language; whatever else has one, so that it can be checked."""
    assert not re.search(r"^(\$ |sudo |apt|dragonfly |dfget |dfdaemon |supernode )", block.text, re.MULTILINE)
