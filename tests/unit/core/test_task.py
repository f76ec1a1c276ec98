from __future__ import annotations

import pytest

from dragonfly.core.task import TaskSpec, ascii_url, canonical_url
from dragonfly.errors import UsageError

DIGEST = "sha256:" + "ab" * 32


def test_a_blob_is_its_digest_wherever_it_lies() -> None:
    here = TaskSpec(url="https://a/v2/x/blobs/" + DIGEST, digest=DIGEST)
    there = TaskSpec(url="http://b/other", digest=DIGEST, tag="t", headers={"Authorization": "Basic x"})
    assert here.key == there.key == "sha256-" + "ab" * 32


def test_a_url_is_named_without_what_does_not_change_it() -> None:
    plain = TaskSpec(url="http://Host:80/f?b=2&a=1&sig=xyz#part", filters=("sig",))
    assert plain.key == TaskSpec(url="http://host/f?a=1&b=2&sig=abc", filters=("sig",)).key
    assert plain.key == TaskSpec(url="http://u:p@host/f?a=1&b=2", headers={"Authorization": "x"}).key
    assert plain.key != TaskSpec(url="http://host/f?a=1&b=3").key


def test_what_changes_the_answer_changes_the_name() -> None:
    url = "http://h/f"
    specs = [
        TaskSpec(url=url),
        TaskSpec(url=url, tag="x"),
        TaskSpec(url=url, application="x"),
        TaskSpec(url=url, trust="insecure"),
        TaskSpec(url=url, headers={"Accept": "text/html"}),
    ]
    assert len({spec.key for spec in specs}) == len(specs)


def test_secrets_are_not_shown() -> None:
    spec = TaskSpec(url="https://me:secret@h/f?token=secret", headers={"Authorization": "secret"})
    assert "secret" not in repr(spec)
    assert spec.shown_url == "https://h/f?token=…"


def test_ports_that_say_nothing_go() -> None:
    assert canonical_url("https://h:443") == "https://h/"
    assert canonical_url("https://[::1]:8443/x") == "https://[::1]:8443/x"


@pytest.mark.parametrize(
    "url", ["http://[::1/?sig=secret", "http://u:secret@h:99999/", "http://u:secret@h:x/?s=secret"]
)
def test_what_is_no_url_is_a_usage_error_that_keeps_its_secrets(url: str) -> None:
    spec = TaskSpec(url=url)
    assert "secret" not in spec.shown_url
    with pytest.raises(UsageError) as raised:
        assert spec.key
    assert "secret" not in str(raised.value)


def test_a_url_goes_over_the_wire_in_ascii() -> None:
    assert ascii_url("http://h/größe a?x=ü y#ö") == "http://h/gr%C3%B6%C3%9Fe%20a?x=%C3%BC%20y#%C3%B6"
    assert ascii_url("http://ü:p@bücher.example:81/") == "http://%C3%BC:p@xn--bcher-kva.example:81/"
    for same in ("http://h/a%20b?sig=a%2Fb+c==&x=[1]", "file:///a%FF", "http://[::1]:80/~x"):
        assert ascii_url(same) == same
    assert ascii_url(ascii_url("http://h/ä")) == ascii_url("http://h/ä")


def test_no_url_is_a_usage_error() -> None:
    for text in ("http://[ü/", f"http://{'ü' * 80}.example/"):
        with pytest.raises(UsageError, match="not a URL"):
            ascii_url(text)


def test_layers_are_read_in_order_with_those_of_the_same_image_in_the_same_repository() -> None:
    """Else a manifest of a stranger's registry could say that another's layer has to wait for his own."""

    def series(url: str, image: str = "i") -> str:
        return TaskSpec(url=url, image=image).series

    assert series("https://r/v2/a/blobs/sha256:1") == series("https://r/v2/a/blobs/sha256:2")
    assert series("https://r/v2/a/blobs/sha256:1", "k") != series("https://r/v2/a/blobs/sha256:1")
    assert series("https://q/v2/a/blobs/sha256:1") != series("https://r/v2/a/blobs/sha256:1")
    assert series("https://r/v2/a/blobs/sha256:1", "") == ""
