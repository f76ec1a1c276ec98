from __future__ import annotations

import enum
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from dragonfly.config.load import Loaded, fields_of, load, unit_of
from dragonfly.config.schema import DAEMON, DFGET, SUPERNODE, Command, LogSettings, NodeSettings
from dragonfly.core.units import parse_duration, parse_size
from dragonfly.daemon.settings import DaemonSettings, Permit, Rule
from dragonfly.errors import UsageError
from dragonfly.peer.settings import EngineSettings
from dragonfly.store.settings import StoreSettings
from dragonfly.supernode.settings import SupernodeSettings


def daemon(file: Path | None = None, text: str = "", env: dict[str, str] | None = None, **flags: object) -> Loaded:
    if file is not None:
        file.write_text(text)
    return load(DAEMON, flags=flags, file=file, environ=env or {})


def refusal(file: Path | None = None, text: str = "", env: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(UsageError) as raised:
        daemon(file, text, env, **flags)
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 1200
    return said


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def _samples(annotation: Any) -> list[str]:
    """Three texts that differ from each other, good for this field."""
    if unit_of(annotation):
        return ["1", "2", "3"]
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    origin = typing.get_origin(plain)
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        return [one.value for one in plain][:3]
    if origin is dict:
        return ["a=1", "b=2", "c=3"]
    if plain is bool:
        return ["false", "true", "false"]
    if plain in (int, float):
        return ["5", "6", "7"]
    return ["one", "two", "three"]


def _plain_fields(command: Command) -> list[tuple[type[msgspec.Struct], str, Any]]:
    found = []
    for kind in command.flat:
        for name, annotation in fields_of(kind).items():
            plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
            arguments = typing.get_args(plain)
            if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
                continue
            if typing.get_origin(plain) is tuple and arguments[0] is not str:
                continue
            found.append((kind, name, annotation))
    return found


FIELDS = [(command, *field) for command in (SUPERNODE, DAEMON, DFGET) for field in _plain_fields(command)]


@pytest.mark.parametrize(
    ("command", "kind", "name", "annotation"), FIELDS, ids=[f"{command.name}-{name}" for command, _, name, _ in FIELDS]
)
def test_a_flag_beats_the_environment_which_beats_the_file(
    command: Command, kind: type[msgspec.Struct], name: str, annotation: Any, file: Path
) -> None:
    samples = {"log_level": ["debug", "warning", "error"], "log_format": ["json", "text", "json"]}.get(name)
    samples = samples or _samples(annotation)
    in_file, in_environment, on_line = (samples * 2)[:3]
    plain = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    many = typing.get_origin(plain) in (tuple, dict)

    def value(file_too: bool, environment: bool, flag: bool) -> object:
        file.write_text(f"{name}: {in_file}\n" if file_too else "")
        loaded = load(
            command,
            flags={name: (on_line,) if many else on_line} if flag else {},
            file=file,
            environ={f"DRAGONFLY_{name.upper()}": in_environment} if environment else {},
        )
        return msgspec.to_builtins(loaded.of(kind))[name]

    def as_kept(text: str) -> object:
        file.write_text(f"{name}: {text}\n")
        return msgspec.to_builtins(load(command, flags={}, file=file, environ={}).of(kind))[name]

    kept = [as_kept(text) for text in (in_file, in_environment, on_line)]
    assert value(True, False, False) == kept[0]
    assert value(True, True, False) == kept[1]
    assert value(False, True, False) == kept[1]
    assert value(True, True, True) == kept[2]
    assert value(False, False, True) == kept[2]
    file.write_text("")
    default = load(command, flags={}, file=file, environ={}).of(kind)
    assert default == kind()


def test_units_in_all_places(file: Path) -> None:
    loaded = daemon(
        file,
        "disk-limit: 2GiB\ndownload_limit: 100Mbit\nauthorized_for: 1m30s\nstore: {ttl_s: 7d, keep_free: 5G}\n",
        {"DRAGONFLY_STORE__KEEP_FREE": "1G"},
        upload_limit="20M",
    )
    node = loaded.of(NodeSettings)
    assert (node.disk_limit, node.download_limit, node.upload_limit) == (2 << 30, 12_500_000, 20_000_000)
    assert loaded.of(DaemonSettings).authorized_for == 90
    assert loaded.of(StoreSettings).ttl_s == 7 * 86400
    assert loaded.of(StoreSettings).keep_free == 10**9
    assert loaded.given == {"disk_limit", "download_limit", "authorized_for", "store", "upload_limit"}


def test_lists_and_tables_in_all_their_forms(file: Path) -> None:
    for text in ("map: {a.example: 'https://r', b: 'http://s'}", "map: 'a.example=https://r, b=http://s'"):
        assert daemon(file, text).of(DaemonSettings).map == {"a.example": "https://r", "b": "http://s"}
    assert daemon(map=("a=http://x",)).of(DaemonSettings).map == {"a": "http://x"}
    for text in ("supernode: [a, 'b:1']", "supernode: 'a,b:1'", "supernode: 'a, b:1,'"):
        assert daemon(file, text).of(NodeSettings).supernode == ("a", "b:1")
    assert daemon(supernode=("a,b:1",)).of(NodeSettings).supernode == ("a", "b:1")
    assert daemon(env={"DRAGONFLY_SUPERNODE": ""}).of(NodeSettings).supernode == ()
    loaded = daemon(
        file, "rules:\n- {regex: x, direct: true}\n- {regx: y, useHTTPS: yes}\npermit: [{ports: [80, '443']}]"
    )
    assert loaded.of(DaemonSettings).rules == (Rule(regex="x", direct=True), Rule(regx="y", use_https_v1=True))
    assert loaded.of(DaemonSettings).permit == (Permit(ports=(80, 443)),)
    loaded = daemon(env={"DRAGONFLY_RULES": "[{regex: z}]", "DRAGONFLY_ENGINE__SWARM__DEPTH": "7"})
    assert loaded.of(DaemonSettings).rules == (Rule(regex="z"),)
    assert loaded.of(EngineSettings).swarm.depth == 7


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("disk_limt: 5G", "disk_limit"),
        ("disk-limits: 5G", "disk_limit"),
        ("store: {ttl: 5d}", "ttl_s"),
        ("engine: {swarm: {dept: 5}}", "depth"),
        ("rules: [{regexp: x}]", "regex"),
        ("stor: {}", "store"),
    ],
)
def test_an_unknown_key_names_the_nearest(file: Path, text: str, near: str) -> None:
    assert f"did you mean {near!r}?" in refusal(file, text)


def test_an_unknown_key_near_nothing_names_all(file: Path) -> None:
    assert "data_dir" in refusal(file, "qqqqqqq: 1")
    assert "ttl_s" in refusal(env={"DRAGONFLY_STORE__QQQQQQ": "1"})


def test_other_variables_of_that_name_are_somebody_else_s() -> None:
    daemon(env={"DRAGONFLY_HOME": "/x", "DRAGONFLYING": "1"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("disk_limit: much", "disk_limit = 'much'"),
        ("disk_limit: -1", "disk_limit = -1"),
        ("disk_limit: 1.5", "disk_limit = 1.5"),
        ("disk_limit: true", "disk_limit"),
        ("disk_limit: [1]", "disk_limit"),
        ("disk_limit: {a: 1}", "disk_limit"),
        ("disk_limit: ", "disk_limit"),
        (f"disk_limit: {'9' * 400}", "disk_limit"),
        (f"disk_limit: {'9' * 5000}", "not YAML"),
        ("upload_limit: 5 apples", "upload_limit = '5 apples'"),
        ("authorized_for: soon", "authorized_for = 'soon'"),
        ("authorized_for: -3", "authorized_for = -3"),
        ("authorized_for: .inf", "authorized_for = inf"),
        ("authorized_for: .nan", "authorized_for = nan"),
        (f"authorized_for: '{'9' * 400}'", "authorized_for"),
        ("log_level: loud", "log_level = 'loud'"),
        ("zone: [a, b]", "zone"),
        ("zone: {a: b}", "zone"),
        ("zone: 2001-01-01", "zone"),
        ("map: 5", "map"),
        ("map: [a]", "map: 'a'"),
        ("map: {a: }", "map"),
        ("map: {a: [1]}", "map"),
        ("supernode: {a: 1}", "supernode"),
        ("when_upstream_down: maybe", "when_upstream_down = 'maybe'"),
        ("rules: 5", "rules"),
        ("rules: [5]", "rules[0]"),
        ("rules: [{direct: perhaps}]", "rules[0].direct"),
        ("rules: [{filters: 5, p2p: {}}]", "rules[0]"),
        ("registries: [{upstream: x}]", "registries[0]"),
        ("permit: [{ports: [http]}]", "permit[0].ports"),
        ("engine: [1]", "engine"),
        ("engine: text", "engine"),
        ("engine: {swarm: 5}", "engine.swarm"),
        ("engine: {swarm: {depth: 0}}", "engine.swarm.depth = 0"),
        ("store: {low_water: 2}", "store.low_water = 2"),
        ("store: {low_water: .nan}", "store.low_water"),
        ("[a, list]", "not a table of keys"),
        ("just text", "not a table of keys"),
        ("a: b: c", "not YAML"),
        ("zone: 2001-99-99", "not YAML"),
        ("zone: !!python/object:os.system x", "not YAML"),
        ("zone: !!int x", "not YAML"),
        ("a: &a [*a]", "unknown key"),
        ("\0", "not YAML"),
        ("[" * 5000, "not YAML"),
    ],
)
def test_a_bad_value_is_one_clear_line(file: Path, text: str, words: str) -> None:
    assert words in refusal(file, text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("log_level: loud", "write debug, info, warning or error"),
        ("when_upstream_down: maybe", "write deny or anonymous-ok"),
        ("rules: [{regex: x, direct: perhaps}]", "write true or false"),
        ("engine: {upload_slots: none}", "write a whole number, 1 or more"),
        ("store: {low_water: high}", "write a number"),
        ("zone: [a]", "write a text"),
    ],
)
def test_what_is_wanted_is_said_in_words(file: Path, text: str, advice: str) -> None:
    assert advice in refusal(file, text)


def test_bad_flags_and_variables_are_named_too() -> None:
    assert "disk_limit = 'x'" in refusal(disk_limit="x")
    assert "store.ttl_s = 'x'" in refusal(env={"DRAGONFLY_STORE__TTL_S": "x"})
    assert "rules" in refusal(env={"DRAGONFLY_RULES": "[unclosed"})
    assert "map" in refusal(map=("no-equals",))


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(UsageError, match="can't be read"):
            load(DAEMON, flags={}, file=path, environ={})
    (tmp_path / "f").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="not YAML"):
        load(DAEMON, flags={}, file=tmp_path / "f", environ={})


def test_a_key_that_the_program_would_overrule_is_refused(file: Path) -> None:
    assert "use the key 'upload_limit'" in refusal(file, "engine: {upload-limit: 5M}")
    assert "dfdaemon decides it" in refusal(env={"DRAGONFLY_ENGINE__SOURCE_POLICY": "first"})
    file.write_text("engine: {origin_limit: 5M}")
    assert load(DAEMON, flags={}, file=file, environ={}).of(EngineSettings).origin_limit == 5_000_000
    with pytest.raises(UsageError, match="use the key 'origin_limit'"):
        load(SUPERNODE, flags={}, file=file, environ={})


def test_every_key_that_is_overruled_exists() -> None:
    for command in (SUPERNODE, DAEMON, DFGET):
        top = {name for kind in command.flat for name in fields_of(kind)}
        for name, above in command.decided.items():
            section, _, key = name.partition(".")
            assert key in fields_of(command.sections[section])
            assert above in top | {""}


def test_an_empty_file_is_no_settings(file: Path) -> None:
    for text in ("", "# nothing\n", "---\n", "engine:\nstore: {}\n"):
        loaded = daemon(file, text)
        assert loaded.of(StoreSettings) == StoreSettings()
        assert loaded.of(LogSettings) == LogSettings()


def test_the_tree_says_what_is_in_force(file: Path) -> None:
    file.write_text("{scheduler: {degree: 6}, store: {ttl_s: 1h}, source_allow: [a, b]}")
    tree = load(SUPERNODE, flags={"zone": "z"}, file=file, environ={}).tree()
    file.write_text(yaml.safe_dump(tree))
    again = load(SUPERNODE, flags={}, file=file, environ={})
    assert again.tree() == tree, "what is shown is a file that says the same"
    assert again.of(SupernodeSettings).zone == "z"
    assert again.of(SupernodeSettings).scheduler.degree == 6
    assert again.of(StoreSettings).ttl_s == 3600


def test_sizes_and_durations_that_are_too_long() -> None:
    with pytest.raises(UsageError):
        parse_size("9" * 400)
    with pytest.raises(UsageError):
        parse_duration("9" * 400)
