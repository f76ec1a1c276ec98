"""What an index page may lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragonfly.client.listing import below, links
from dragonfly.errors import UsageError
from dragonfly.testing.origin import Origin

HTML = {"Content-Type": "text/html"}
INDEX = "http://h/dir/"


@pytest.mark.parametrize(
    "link",
    [
        "../up",
        "/",
        "/etc/passwd",
        "http://other/dir/x",
        "https://h/dir/x",
        "//other/dir/x",
        "..%2f..%2fetc",
        "%2e%2e/x",
        "sub%2f..%2f..%2fx",
        "?C=N;O=D",
        "a%00b",
        ".",
        "javascript:alert(1)",
        "http://[h/",
    ],
)
def test_nothing_outside_is_followed(link: str) -> None:
    assert links(f'<a href="{link}">x</a>', INDEX) == []


def test_names_below_are_followed_once_and_in_order() -> None:
    page = '<a href="b">b</a><a href="a/">a</a><a href="./b">b</a><a href="/dir/c%20d">c</a>'
    assert links(page, INDEX) == [INDEX + "b", INDEX + "a/", INDEX + "c%20d"]


def test_pages_below_pages(origin: Origin) -> None:
    origin.serve("/d/", b'<a href="../">up</a><a href="x">x</a><a href="sub/">sub</a>', headers=HTML)
    origin.serve("/d/sub/", b'<a href="/d/">top</a><a href="y%20z">y</a>', headers=HTML)
    found = list(below(origin.url("/d"), {}))
    assert found == [(origin.url("/d/x"), Path("x")), (origin.url("/d/sub/y%20z"), Path("sub/y z"))]


def test_folders_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a b").write_text("1")
    (tmp_path / "c").write_text("2")
    assert [name for _, name in below(f"file://{tmp_path}", {})] == [Path("c"), Path("sub/a b")]
    with pytest.raises(UsageError):
        list(below(f"file://{tmp_path}/c", {}))
