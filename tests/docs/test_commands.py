"""Every command and its options are on docs/commands.md, say what they do, and are known to a page for people."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from docs.pages import page, pages
from dragonfly.cli.main import ALIASES, SUBCOMMANDS, umbrella
from dragonfly.cli.reference import commands_text


def commands(group: click.Group = umbrella, path: str = "dragonfly") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


ALL = pytest.mark.parametrize(("name", "command"), list(commands()), ids=[name for name, _ in commands()])


def test_the_page_is_what_the_code_says() -> None:
    """`dragonfly config reference --commands > docs/commands.md` brings it up to date."""
    assert page("docs/commands.md") == commands_text()


@ALL
def test_a_page_for_people_says_what_it_is_for(name: str, command: click.Command) -> None:
    """Besides the reference."""
    texts = [text for path, text in pages().items() if path not in ("docs/commands.md", "CHANGELOG.md")]
    written = {name, ALIASES.get(name, name)}
    assert any(f"`{one}" in text or f"\n{one} " in text for text in texts for one in written)


@ALL
def test_its_help_says_what_everything_is(name: str, command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


@ALL
def test_the_line_in_its_groups_list_is_whole(name: str, command: click.Command) -> None:
    """click cuts long lines off; ours say it shorter."""
    if name.count(" ") > 1:
        assert not command.get_short_help_str(45).endswith("..."), name


def test_theumbrellas_list_is_short() -> None:
    for name, (_, text) in SUBCOMMANDS.items():
        assert len(name) + len(text) < 70
