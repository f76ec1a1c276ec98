from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dragonfly.config.load import fields_of, load
from dragonfly.config.reference import defaults_text, reference_text
from dragonfly.config.schema import DAEMON, DFGET, SUPERNODE, Command

DOCS = Path(__file__).parents[3] / "docs"
COMMANDS = pytest.mark.parametrize("command", [SUPERNODE, DAEMON, DFGET], ids=lambda command: command.name)


def test_the_page_is_what_the_code_says() -> None:
    """`dragonfly config reference > docs/configuration.md` brings it up to date."""
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == reference_text()


def test_every_key_has_a_meaning() -> None:
    for line in reference_text().splitlines():
        if line.startswith("| `") and not line.startswith("| `dragonfly"):
            key, form, _, meaning = line.strip("|").replace("\\|", "/").split(" | ")
            assert meaning.strip(), f"{key} says nothing"
            assert form.strip(), f"{key} has no form"


@COMMANDS
def test_every_key_is_on_the_page(command: Command) -> None:
    text = reference_text()
    for section, kind in [("", kind) for kind in command.flat] + list(command.sections.items()):
        for name in fields_of(kind):
            if command.decided.get(f"{section}.{name}") is None:
                assert f"| `{name}` |" in text


@COMMANDS
def test_the_sample_file_is_the_defaults_once_its_keys_are_uncommented(command: Command, tmp_path: Path) -> None:
    first, *lines = defaults_text(command).splitlines()
    assert first.startswith(f"# {command.name}")
    file = tmp_path / "config.yaml"
    file.write_text("\n".join(line.removeprefix("# ") for line in lines))
    loaded = load(command, flags={}, file=file, environ={})
    for kind in (*command.flat, *command.sections.values()):
        assert loaded.of(kind) == kind()
    assert set(yaml.safe_load(file.read_text())) == {name for kind in command.flat for name in fields_of(kind)} | set(
        command.sections
    )


@COMMANDS
def test_the_sample_file_as_it_is_sets_nothing(command: Command, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(defaults_text(command))
    assert not load(command, flags={}, file=tmp_path / "f", environ={}).given
