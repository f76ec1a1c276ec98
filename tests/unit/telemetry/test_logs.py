from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from dragonfly.core.messages import BytesBy
from dragonfly.core.task import TaskSpec
from dragonfly.errors import SourceError
from dragonfly.peer.report import Result
from dragonfly.source.base import SourceRequest
from dragonfly.source.http import HttpSource
from dragonfly.telemetry.logs import log_events, setup
from dragonfly.telemetry.trace import Tracer
from dragonfly.testing.origin import Origin

RESULT = Result(key="sha256-" + "a" * 64, url="http://h/x", length=10**9, seconds=2.0, received=BytesBy(peers=10**9))


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("dragonfly")
    handlers, level, own = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(own)


class Log:
    """A process that logs in one form; `lines` is what it wrote so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str], level: str, form: str) -> None:
        setup(level, form)
        self.tracer = Tracer()
        log_events(self.tracer)
        self._capsys = capsys

    def lines(self) -> list[str]:
        return self._capsys.readouterr().err.split("\n")[:-1]

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_line_for_a_pull(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(capsys, "info", "text")
    log.tracer.emit("pull.started", task=RESULT.key, url=RESULT.url)
    for number in range(10):
        log.tracer.emit("piece.received", task=RESULT.key, piece=number, bytes=1)
    log.tracer.emit("pull.finished", task=RESULT.key, url=RESULT.url, result=RESULT, error="")
    (line,) = log.lines()
    assert "INFO" in line
    assert "pull.finished 1 GB in 2.0 s (500 MB/s): peers 100 % task=sha256-" in line
    assert "url=http://h/x" in line
    assert "error" not in line


def test_numbers_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(capsys, "info", "text")
    log.tracer.emit("request.served", bytes=3_000_000, seconds=0.024527504000161, status=200)
    (line,) = log.lines()
    assert line.endswith('request.served bytes="3 MB" seconds=0.0245 status=200')


def test_the_same_in_json_with_all_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(capsys, "info", "json")
    log.tracer.emit("pull.finished", task=RESULT.key, url=RESULT.url, result=RESULT, error="")
    (found,) = log.objects()
    assert (found["event"], found["level"], found["task"]) == ("pull.finished", "info", RESULT.key)
    assert found["result"]["received"] == {"peers": 10**9}
    assert found["at"] > 1e9


def test_levels_are_kept_to(capsys: pytest.CaptureFixture[str], form: str) -> None:
    for level, count in (("debug", 4), ("info", 3), ("warning", 2), ("error", 1)):
        log = Log(capsys, level, form)
        log.tracer.emit("pull.started", task="t")
        log.tracer.emit("pull.finished", task="t")
        log.tracer.emit("pull.failed", task="t")
        log.tracer.emit("config.refused", error="x")
        log.tracer.emit("piece.received", task="t")
        assert len(log.lines()) == count


@pytest.mark.parametrize("text", ["two\nlines", "cr\rlf", "esc\x1b[31m", 'a "quote" b', "\udcff\ud800", "\u2028", "\0"])
def test_what_others_sent_stays_in_one_line_that_can_be_read(
    capsys: pytest.CaptureFixture[str], form: str, text: str
) -> None:
    log = Log(capsys, "info", form)
    log.tracer.emit("parent.left", task="t", peer=text, reason=f"{text} INFO forged")
    lines = log.lines()
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    if form == "json":
        assert json.loads(lines[0])["event"] == "parent.left"
    else:
        assert lines[0].isprintable()


def test_no_secret_of_a_pull_is_logged(capsys: pytest.CaptureFixture[str], form: str) -> None:
    log = Log(capsys, "debug", form)
    spec = TaskSpec(
        url="https://user:secret@h/x?X-Amz-Signature=secret&b=secret", headers={"Authorization": "Bearer secret"}
    )
    error = SourceError("refused", subject=spec.shown_url, status=403)
    log.tracer.emit("pull.started", task=spec.key, url=spec.shown_url)
    log.tracer.emit("pull.failed", task=spec.key, url=spec.shown_url, error=str(error), spec=spec, result=None)
    lines = log.lines()
    assert len(lines) == 2
    assert "secret" not in "".join(lines)


def test_a_message_of_another_library_and_a_traceback(capsys: pytest.CaptureFixture[str], form: str) -> None:
    log = Log(capsys, "info", form)
    logging.getLogger("aiohttp").warning("their %s", "words")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("dragonfly").exception("it broke")
    lines = log.lines()
    assert "their words" in lines[0]
    assert "boom" in "".join(lines)
    if form == "json":
        assert json.loads(lines[1])["message"] == "it broke"


def test_a_librarys_words_about_each_try_stay_out_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """urllib3 writes the path with its query, signatures too."""
    log = Log(capsys, "debug", "text")
    with Origin() as origin:
        url = origin.url("/f?sig=hidden")
    with pytest.raises(SourceError):
        HttpSource().open(SourceRequest(url=url, timeout_s=1.0))
    assert "hidden" not in "".join(log.lines())


async def test_what_is_no_request_fills_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log(capsys, "debug", "text")

    async def hello(request: web.BaseRequest) -> web.Response:
        raise KeyError("ours")

    server = web.Server(hello)
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    for request in (
        b"\x00\x01 nonsense\r\n\r\n",
        b"GET http://a\x1b/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await reader.read()
        writer.close()
    listening.close()
    await server.shutdown()
    lines = log.lines()
    assert any("ours" in line for line in lines), "a fault of ours is told"
    assert not any("nonsense" in line or "InvalidURL" in line for line in lines)
