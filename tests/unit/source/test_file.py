from __future__ import annotations

import os
from pathlib import Path

import pytest

from dragonfly.errors import SourceError
from dragonfly.source.base import SourceRequest
from dragonfly.source.file import FileSource
from dragonfly.testing.source_conformance import read_all


def ask(url: str) -> SourceRequest:
    return SourceRequest(url=url)


@pytest.mark.parametrize("form", ["file://{}", "file://localhost{}", "file:{}"])
def test_forms_of_a_file_url(tmp_path: Path, form: str) -> None:
    (tmp_path / "f").write_bytes(b"content")
    with FileSource().open(ask(form.format(tmp_path / "f"))) as stream:
        assert read_all(stream) == b"content"


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("file://elsewhere/etc/hosts", 404),
        ("file:///no/such/file", 404),
        ("file:///etc/hosts/below", 404),
        ("file:///etc", 404),
        ("file:///dev/zero", 404),
        ("file:///etc/%00hosts", 404),
        ("file://[::1/x", 404),
    ],
)
def test_what_can_not_be_read_is_refused_with_a_status(url: str, status: int) -> None:
    for call in (FileSource().open, FileSource().describe):
        with pytest.raises(SourceError) as raised:
            call(ask(url))
        assert raised.value.status == status


def test_a_named_pipe_does_not_hold_the_reader_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="not a file"):
        FileSource().open(ask(f"file://{tmp_path}/pipe"))


def test_refusals_leave_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for url, start in ((f"file://{tmp_path}", 0), (f"file://{tmp_path}/f", 5)):
        with pytest.raises(SourceError):
            FileSource().open(ask(url), start)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_became_shorter_breaks_off(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1000)
    with FileSource().open(ask(f"file://{tmp_path}/f")) as stream:
        stream.readinto(memoryview(bytearray(10)))
        os.truncate(tmp_path / "f", 10)
        with pytest.raises(SourceError, match="shorter"):
            stream.readinto(memoryview(bytearray(10)))
