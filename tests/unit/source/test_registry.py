from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dragonfly.errors import UsageError
from dragonfly.source.file import FileSource
from dragonfly.source.http import HttpSource
from dragonfly.source.registry import Sources

PLUGIN = """
class Good:
    def __init__(self, policy): self.policy = policy
    def close(self): raise RuntimeError("a plug-in that can't even close")
def broken(policy): raise RuntimeError("no such library")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that brings sources of its own."""
    (tmp_path / "strange_sources.py").write_text(PLUGIN)
    info = tmp_path / "strange_sources-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-sources\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[dragonfly.source.v1]\n"
        "good = strange_sources:Good\nbroken = strange_sources:broken\nmissing = no_such_module:Source\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "strange_sources", raising=False)


def test_our_own() -> None:
    sources = Sources(allow_file=True)
    assert isinstance(sources.for_url("HTTP://x/"), HttpSource)
    assert isinstance(sources.for_url("https://x/"), HttpSource)
    assert isinstance(sources.for_url("file:///x"), FileSource)
    assert sources.for_url("http://x/") is sources.for_url("https://x/"), "one for both, with its connections"
    assert sources.for_url("http://x/") is sources.for_url("http://y/")
    sources.close()


def test_files_of_this_node_are_not_read_unless_it_is_said() -> None:
    with pytest.raises(UsageError, match="no source"):
        Sources().for_url("file:///etc/passwd")


@pytest.mark.parametrize("url", ["ftp://u:secret@h/x?sig=secret", "nonsense", "", "http://[x?secret", "://"])
def test_a_url_without_a_source_is_a_usage_error_without_secrets(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        Sources().for_url(url)
    assert "secret" not in str(raised.value)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_is_found_by_its_entry_point() -> None:
    sources = Sources()
    assert type(sources.for_url("good://bucket/x")).__name__ == "Good"
    sources.for_url("http://x/")
    sources.close()  # whatever a plug-in raises, the others are closed


@pytest.mark.usefixtures("plugin")
def test_what_is_prepared_is_loaded_before_anybody_asks() -> None:
    sources = Sources()
    assert "strange_sources" not in sys.modules
    sources.prepare("good", "missing", "unheard-of")
    assert "strange_sources" in sys.modules
    sources.close()


@pytest.mark.usefixtures("plugin")
def test_a_broken_plugin_is_named_and_the_others_work() -> None:
    sources = Sources()
    for scheme, reason in (("broken", "no such library"), ("missing", "no_such_module")):
        with pytest.raises(UsageError, match=reason):
            sources.for_url(f"{scheme}://x/")
    assert len(sources.problems) == 2
    assert isinstance(sources.for_url("http://x/"), HttpSource)
    sources.close()
