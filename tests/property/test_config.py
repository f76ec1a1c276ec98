"""Whatever stands in a configuration file: settings, or one clear line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dragonfly.config.load import fields_of, load
from dragonfly.config.schema import DAEMON, SUPERNODE, Command
from dragonfly.errors import UsageError

KEYS = sorted({name for command in (SUPERNODE, DAEMON) for kind in command.flat for name in fields_of(kind)})
SECTIONS = sorted(DAEMON.sections)
INNER = sorted({name for kind in DAEMON.sections.values() for name in fields_of(kind)} | {"regex", "host", "ports"})
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.binary(max_size=6), st.dates(),
    st.sampled_from(["5M", "30s", "2GiB", "-1", "1e999", "a=b", "a,b", "[", "{", "on"]),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(INNER) | st.text(max_size=4) | st.integers(), inner, max_size=3),
    ),
    max_leaves=8,
)
TREES = st.dictionaries(st.sampled_from(KEYS + SECTIONS), VALUES, max_size=4)


def tried(command: Command, text: str, environ: dict[str, str]) -> None:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        said = ""
        try:
            load(command, flags={}, file=Path(file.name), environ=environ)
        except UsageError as error:
            said = str(error)
        assert "\n" not in said
        assert len(said) < 3000


@settings(max_examples=300, deadline=None)
@given(TREES, st.sampled_from([SUPERNODE, DAEMON]))
def test_any_tree(tree: dict[str, object], command: Command) -> None:
    tried(command, yaml.safe_dump(tree, allow_unicode=True), {})


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab1-: \n[]{},&*!#|>'\"%@`0x_.=~?") | st.characters(), max_size=60))
def test_any_text(text: str) -> None:
    tried(DAEMON, text, {})


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(
            [f"DRAGONFLY_{key.upper()}" for key in KEYS]
            + [f"DRAGONFLY_{section.upper()}__{key.upper()}" for section in SECTIONS for key in INNER]
            + ["DRAGONFLY_ENGINE__SWARM__DEPTH", "DRAGONFLY_STORE__"]
        ),
        st.text(max_size=20) | st.sampled_from(["[[[", "5", "{a: b}", "2001-99-99"]),
        max_size=3,
    )
)
def test_any_environment(environ: dict[str, str]) -> None:
    tried(DAEMON, "", environ)
