"""docs/protocol.md against the messages and frames themselves."""

from __future__ import annotations

import typing

import msgspec
import pytest

from docs.pages import code, page, rows
from dragonfly.core import messages, task
from dragonfly.peer import handshake, remote, serve
from dragonfly.supernode import control
from dragonfly.wire import codec, piece

PAGE = "docs/protocol.md"
SEEDS_WORDS = {"TaskInfo", "Digests", "TaskFailed"}


def described(heading: str) -> dict[str, list[str]]:
    return {code(row[0])[0]: code(row[1] if heading.startswith("From") else row[2]) for row in rows(PAGE, heading)}


def fields(*kinds: type[msgspec.Struct]) -> dict[str, list[str]]:
    return {kind.__name__: list(kind.__struct_fields__) for kind in kinds}


def test_every_message_and_its_fields() -> None:
    daemon = fields(*typing.get_args(messages.FromDaemon))
    assert described("From daemons") == {name: have for name, have in daemon.items() if name not in SEEDS_WORDS}
    assert described("From supernodes") == fields(*typing.get_args(messages.FromSupernode))


def test_the_structs_inside() -> None:
    inside = (messages.HostInfo, messages.PeerAddress, messages.BytesBy, messages.TaskProgress, task.TaskSpec)
    assert described("Inside of messages") == fields(*inside)


def test_kinds_of_trouble() -> None:
    row = next(row for row in rows(PAGE, "From daemons") if code(row[0]) == ["Trouble"])
    assert code(row[2]) == [kind.value for kind in messages.TroubleKind]


def test_frames() -> None:
    told = {code(row[1])[0]: int(row[0]) for row in rows(PAGE, "Frames")}
    assert told == {kind.name: kind.value for kind in piece.Kind}
    assert f"A header of {piece.HEADER} bytes" in page(PAGE)


@pytest.mark.parametrize(
    "sentence",
    [
        f"subprotocol `{codec.PROTOCOL}`",
        f"at most {codec.MAX_MESSAGE} bytes",
        f"within {control._HELLO_S:g} s",
        f"The daemon pings every {remote._HEARTBEAT_S:g} s, the supernode every {control._HEARTBEAT_S:g} s",
        f"({control._QUEUE_LIMIT} messages waiting)",
        f"Upgrade: {piece.UPGRADE}",
        f"at most {handshake._HEAD_LIMIT} bytes",
        f"within {serve._HEAD_TIMEOUT_S:g} s",
        f"`DATA` is at most {piece.MAX_DATA} bytes, of all others {piece.MAX_CONTROL}",
        f"flag {piece.CHOSEN} (`CHOSEN`)",
    ],
)
def test_names_and_limits(sentence: str) -> None:
    assert sentence in page(PAGE)
