from __future__ import annotations

import gzip
import threading
import time

import pytest

from dragonfly.core.task import INSECURE
from dragonfly.core.validators import Validators
from dragonfly.errors import SourceError, SourceUnreachable
from dragonfly.source.base import SourceRequest
from dragonfly.source.http import HttpSource
from dragonfly.source.policy import SourcePolicy
from dragonfly.testing.origin import Origin, Reply, reply
from dragonfly.testing.source_conformance import read_all
from unit.source.conftest import Identity

DATA = bytes(range(256)) * 400


def ask(url: str, *, timeout_s: float = 5.0, trust: str = "", **headers: str) -> SourceRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SourceRequest(url=url, headers=named, timeout_s=timeout_s, trust=trust)


def whole(source: HttpSource, request: SourceRequest, start: int = 0, end: int | None = None) -> bytes:
    with source.open(request, start, end) as stream:
        return read_all(stream)


def refusal(source: HttpSource, request: SourceRequest, start: int = 0, end: int | None = None) -> SourceError:
    with pytest.raises(SourceError) as raised:
        whole(source, request, start, end)
    return raised.value


# ---------------------------------------------------------------- lengths and ranges


def test_an_answer_in_chunks_has_no_length_but_all_bytes(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/c", DATA, chunked=True, ranges=False)
    with source.open(ask(url)) as stream:
        assert stream.described.length is None
        assert read_all(stream) == DATA
    assert source.describe(ask(url)).length is None


def test_an_answer_that_ends_with_its_connection_has_no_length(origin: Origin, source: HttpSource) -> None:
    origin.then("/c", Reply(raw=b"HTTP/1.0 200 OK\r\n\r\n" + DATA))
    with source.open(ask(origin.url("/c"))) as stream:
        assert stream.described.length is None
        assert read_all(stream) == DATA


@pytest.mark.parametrize(
    "content_range",
    [
        "bytes 5-19/100",
        "bytes 0-19/100",
        "bytes 10-20/100",
        "nonsense",
        "",
        "bytes 10-/100",
        f"bytes 10-19/1{'0' * 5000}",
    ],
)
def test_another_range_than_was_asked_for_is_never_taken(
    origin: Origin, source: HttpSource, content_range: str
) -> None:
    origin.then("/r", reply(206, body=b"x" * 10, headers={"Content-Range": content_range}))
    assert "another range" in str(refusal(source, ask(origin.url("/r")), 10, 20))


def test_a_server_that_ignores_ranges_is_no_source_of_ranges(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA, ranges=False)
    assert "no byte ranges" in str(refusal(source, ask(url), 10))


def test_more_than_the_range_that_was_announced_is_not_read(origin: Origin, source: HttpSource) -> None:
    origin.then("/r", reply(206, body=DATA, headers={"Content-Range": "bytes 0-9/100"}))
    assert whole(source, ask(origin.url("/r")), 0, 10) == DATA[:10]
    origin.serve("/ok", DATA)
    assert whole(source, ask(origin.url("/ok"))) == DATA  # and the rest of it is not taken for the next answer


def test_a_header_of_the_caller_does_not_stand_beside_ours(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA)
    request = SourceRequest(url=url, headers={"range": "bytes=0-1", "accept-encoding": "gzip"})
    assert whole(source, request, 10, 20) == DATA[10:20]
    assert origin.seen[-1].headers["range"] == "bytes=10-19"


def test_content_codings_are_left_as_they_are(origin: Origin, source: HttpSource) -> None:
    packed = gzip.compress(DATA)
    url = origin.serve("/z", packed, headers={"Content-Encoding": "gzip"})
    with source.open(ask(url)) as stream:
        assert read_all(stream) == packed
        assert stream.described.headers["content-encoding"] == "gzip"
    assert origin.seen[-1].headers["accept-encoding"] == "identity"


def test_what_the_answer_says_of_the_content(origin: Origin, source: HttpSource) -> None:
    digest = "sha256:" + "ab" * 32
    url = origin.serve(
        "/f", DATA, etag='"1"', last_modified="Mon, 01 Jan 2024 00:00:00 GMT",
        headers={"Docker-Content-Digest": digest, "Cache-Control": "public, max-age=60", "Content-Type": "a/b",
                 "Set-Cookie": "secret=1"},
    )  # fmt: skip
    described = source.describe(ask(url))
    assert described.digest == digest
    assert described.validators == Validators(
        etag='"1"', last_modified="Mon, 01 Jan 2024 00:00:00 GMT", fresh_for_s=60.0
    )
    assert described.headers["content-type"] == "a/b"
    assert "set-cookie" not in described.headers


@pytest.mark.parametrize("control", ["no-cache, max-age=60", "max-age=60, no-store", "No-Store,max-age=5"])
def test_what_may_not_be_cached_is_never_fresh(origin: Origin, source: HttpSource, control: str) -> None:
    url = origin.serve("/f", DATA, headers={"Cache-Control": control})
    described = source.describe(ask(url))
    assert described.validators.fresh_for_s == 0
    assert Validators.of(described.headers).fresh_for_s == 0


# ---------------------------------------------------------------- redirects


def test_redirects_are_followed_with_the_range(origin: Origin, source: HttpSource) -> None:
    origin.serve("/there", DATA)
    for status in (301, 302, 303, 307, 308):
        origin.then("/here", reply(status, headers={"Location": "/there"}))
        assert whole(source, ask(origin.url("/here")), 5, 50) == DATA[5:50]


def test_credentials_stay_at_their_origin(origin: Origin, source: HttpSource) -> None:
    with Origin() as other:
        other.serve("/blob", DATA)
        origin.then("/v2", reply(307, headers={"Location": origin.url("/again")}))
        origin.then("/again", reply(307, headers={"Location": other.url("/blob?sig=1")}))
        request = ask(
            origin.url("/v2"), Authorization="Bearer t", Cookie="c", X_Auth_Token="x", Private_Token="p",
            X_JFrog_Art_Api_Key="k", Accept="a/b",
        )  # fmt: skip
        assert whole(source, request) == DATA
        same, elsewhere = origin.asked("/again")[0].headers, other.seen[0].headers
    assert same["authorization"] == "Bearer t"
    assert {"authorization", "cookie", "x-auth-token", "private-token", "x-jfrog-art-api-key"}.isdisjoint(elsewhere)
    assert elsewhere["accept"] == "a/b"


def test_user_and_password_of_a_url_are_basic_credentials(origin: Origin, source: HttpSource) -> None:
    origin.serve("/f", DATA)
    url = origin.url("/f").replace("://", "://us%40er:pass@")
    assert whole(source, ask(url)) == DATA
    assert origin.seen[0].headers["authorization"] == "Basic dXNAZXI6cGFzcw=="
    assert "pass" not in str(refusal(source, ask(url.replace("/f", "/missing"))))


def test_a_loop_ends(origin: Origin, source: HttpSource) -> None:
    origin.decide("/loop", lambda _: reply(302, headers={"Location": "/loop"}))
    error = refusal(source, ask(origin.url("/loop")))
    assert "too many redirects" in str(error)
    assert not isinstance(error, SourceUnreachable)
    assert len(origin.seen) == 10


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[::1", "http://127.0.0.1:99999/", "gopher:x"],
)
def test_a_redirect_to_what_is_no_http_is_refused(origin: Origin, source: HttpSource, location: str) -> None:
    origin.then("/x", reply(302, headers={"Location": location}))
    error = refusal(source, ask(origin.url("/x")))
    assert "not a URL that can be read" in str(error)
    assert not isinstance(error, SourceUnreachable)


def test_a_redirect_to_a_cloud_s_metadata_is_refused(origin: Origin, source: HttpSource) -> None:
    origin.then("/x", reply(302, headers={"Location": "http://169.254.169.254/latest/"}))
    assert refusal(source, ask(origin.url("/x"))).status == 403


def test_a_denied_host_is_denied_however_it_is_reached(origin: Origin) -> None:
    source = HttpSource(SourcePolicy(deny=("localhost",)))
    origin.then("/x", reply(302, headers={"Location": origin.url("/y", host="LOCALHOST.")}))
    origin.serve("/y", DATA)
    assert refusal(source, ask(origin.url("/x"))).status == 403
    source.close()


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("challenge", ['Basic realm="r"', 'Bearer realm="https://a/t",service="s",scope="x:y:z"'])
def test_a_challenge_is_passed_on(origin: Origin, source: HttpSource, challenge: str) -> None:
    origin.then("/x", reply(401, headers={"WWW-Authenticate": challenge}))
    error = refusal(source, ask(origin.url("/x")))
    assert (error.status, error.challenge, error.final) == (401, challenge, True)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 451])
def test_a_no_is_final(origin: Origin, source: HttpSource, status: int) -> None:
    origin.then("/x", reply(status))
    error = refusal(source, ask(origin.url("/x")))
    assert (error.status, error.final, isinstance(error, SourceUnreachable)) == (status, True, False)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_not_now_is_worth_another_try(origin: Origin, source: HttpSource, status: int) -> None:
    origin.then("/x", reply(status, headers={"Retry-After": "7"}))
    error = refusal(source, ask(origin.url("/x")))
    assert isinstance(error, SourceUnreachable)
    assert (error.status, error.final, error.retry_after) == (status, False, 7.0)
    assert len(origin.seen) == 1  # when to ask again is not decided here


@pytest.mark.parametrize(("text", "wait"), [("", 0), ("soon", 0), ("-5", 0), ("9" * 50, 3600), ("0", 0)])
def test_retry_after_in_any_form(origin: Origin, source: HttpSource, text: str, wait: float) -> None:
    origin.then("/x", reply(503, headers={"Retry-After": text}))
    assert refusal(source, ask(origin.url("/x"))).retry_after == wait


def test_retry_after_may_be_a_date(origin: Origin, source: HttpSource) -> None:
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    origin.then("/x", reply(503, headers={"Retry-After": at}))
    assert 90 < refusal(source, ask(origin.url("/x"))).retry_after <= 100


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_content_is_not_taken_for_an_empty_one(
    origin: Origin, source: HttpSource, status: int
) -> None:
    origin.then("/x", reply(status))
    assert refusal(source, ask(origin.url("/x"))).status == status


# ---------------------------------------------------------------- broken off, silent, slow


def test_an_answer_cut_off_is_an_error_after_its_bytes(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA)
    origin.then("/f", Reply(cut_after=1000))
    got = bytearray()
    buffer = memoryview(bytearray(100))

    def read() -> None:
        with source.open(ask(url)) as stream:
            for count in iter(lambda: stream.readinto(buffer), 0):
                got.extend(buffer[:count])

    with pytest.raises(SourceUnreachable, match="broke off"):
        read()
    assert DATA.startswith(bytes(got))
    assert whole(source, ask(url), len(got)) == DATA[len(got) :]  # a range brings the rest


@pytest.mark.parametrize("size", [b"100000", b"10"])
def test_an_answer_that_ends_early_is_an_error(origin: Origin, source: HttpSource, size: bytes) -> None:
    origin.then("/f", Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\nshort" % size))
    assert isinstance(refusal(source, ask(origin.url("/f"))), SourceUnreachable)


def test_chunks_that_end_early_are_an_error(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA, chunked=True, ranges=False)
    origin.then("/f", Reply(cut_after=20_000))
    assert isinstance(refusal(source, ask(url)), SourceUnreachable)


@pytest.mark.parametrize("raw", [b"garbage\r\n\r\n", b"\0\1\2", b"HTTP/1.1 banana\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_what_is_no_answer_is_a_source_that_can_not_be_reached(origin: Origin, source: HttpSource, raw: bytes) -> None:
    origin.then("/f", Reply(raw=raw))
    assert isinstance(refusal(source, ask(origin.url("/f"))), SourceUnreachable)


def test_a_server_that_closes_without_a_word(origin: Origin, source: HttpSource) -> None:
    origin.then("/f", Reply(refuse=True))
    assert isinstance(refusal(source, ask(origin.url("/f"))), SourceUnreachable)


def test_a_kept_connection_that_the_server_closed_is_no_error(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA)
    assert whole(source, ask(url)) == DATA
    origin.drop_connections()
    time.sleep(0.02)
    assert whole(source, ask(url)) == DATA


def test_connections_are_kept(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA)
    for start in range(0, 1000, 100):
        whole(source, ask(url), start, start + 100)
    whole(source, ask(url))
    assert {one.connection for one in origin.seen} == {0}


def test_silence_ends_with_the_deadline(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA)
    origin.then("/f", Reply(stall_after=100))
    begun = time.monotonic()
    assert isinstance(refusal(source, ask(url, timeout_s=0.2)), SourceUnreachable)
    assert time.monotonic() - begun < 2


def test_silence_before_the_first_byte_ends_too(origin: Origin, source: HttpSource) -> None:
    release = threading.Event()
    origin.decide("/f", lambda _: (release.wait(5), Reply())[1])
    begun = time.monotonic()
    try:
        assert isinstance(refusal(source, ask(origin.url("/f"), timeout_s=0.2)), SourceUnreachable)
        assert time.monotonic() - begun < 2
    finally:
        release.set()


def test_nobody_there(source: HttpSource) -> None:
    with Origin() as gone:
        url = gone.url("/f")
    error = refusal(source, ask(url))
    assert isinstance(error, SourceUnreachable)
    assert error.status is None


# ---------------------------------------------------------------- validators


def test_changed_content_is_told_from_unchanged_by_one_head(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", DATA, etag='"1"')
    assert source.unchanged(ask(url), Validators(etag='"1"'))
    assert not source.unchanged(ask(url), Validators(etag='"0"'))
    assert [one.method for one in origin.seen] == ["HEAD", "HEAD"]


def test_a_server_that_does_not_know_conditions_is_compared(origin: Origin, source: HttpSource) -> None:
    origin.decide("/f", lambda _: reply(200, body=DATA, headers={"ETag": '"1"'}))
    assert source.unchanged(ask(origin.url("/f")), Validators(etag='"1"'))
    assert not source.unchanged(ask(origin.url("/f")), Validators(etag='"2"'))


def test_what_became_empty_has_changed(origin: Origin, source: HttpSource) -> None:
    url = origin.serve("/f", b"", etag='"2"', head=False)
    assert not source.unchanged(ask(url), Validators(etag='"1"'))


def test_who_may_not_read_it_any_more_hears_so(origin: Origin, source: HttpSource) -> None:
    origin.then("/f", reply(401, headers={"WWW-Authenticate": "Basic"}))
    with pytest.raises(SourceError) as raised:
        source.unchanged(ask(origin.url("/f")), Validators(etag='"1"'))
    assert (raised.value.status, raised.value.challenge) == (401, "Basic")


# ---------------------------------------------------------------- secrets, TLS, proxies


@pytest.mark.parametrize("value", ["very\nsecret", "very\rsecret: x", "very \u20ac secret"])
def test_a_header_that_can_not_be_sent_is_not_repeated(origin: Origin, source: HttpSource, value: str) -> None:
    error = refusal(source, SourceRequest(url=origin.url("/f"), headers={"Authorization": value}))
    assert "secret" not in str(error)
    assert not isinstance(error, SourceUnreachable)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/?q=secret",
        "http://u:secret@127.0.0.1:99999/",
        "http://u:secret@:80/",
        "http://u:secret@",
    ],
)
def test_a_url_that_is_none_is_refused_without_its_secrets(source: HttpSource, url: str) -> None:
    error = refusal(source, ask(url))
    assert "secret" not in str(error)
    assert not isinstance(error, SourceUnreachable)


def test_no_error_shows_the_query_or_the_credentials(origin: Origin, source: HttpSource) -> None:
    replies = [
        reply(404), reply(401), reply(500), Reply(refuse=True), Reply(raw=b"x"),
        reply(302, headers={"Location": "/loop?sig=secret"}), reply(302, headers={"Location": "http://[?secret"}),
    ]  # fmt: skip
    origin.decide("/loop", lambda _: reply(302, headers={"Location": "/loop?sig=secret"}))
    url = origin.url("/f?sig=secret").replace("://", "://u:secret@")
    for one in replies:
        origin.then("/f", one)
        error = refusal(source, ask(url, X_Token="secret"))
        assert "secret" not in f"{error} {error!r}"


def test_a_certificate_of_ones_own_is_trusted_where_it_is_named(source: HttpSource, identity: Identity) -> None:
    with Origin(tls=identity.context) as origin:
        url = origin.serve("/f", DATA)
        assert whole(source, ask(url, trust=identity.pem)) == DATA
        assert whole(source, ask(url, trust=INSECURE)) == DATA
        error = refusal(source, ask(url))
        assert "certificate can't be trusted" in str(error)
        assert "--upstream-ca" in str(error)
        assert not isinstance(error, SourceUnreachable)


def test_a_ca_file_without_a_certificate_is_said_to_be_one(origin: Origin, source: HttpSource) -> None:
    for pem in ("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "grüße"):
        error = refusal(source, ask(origin.url("/f"), trust=pem))
        assert "holds no certificate" in str(error)
        assert not isinstance(error, SourceUnreachable)


def test_no_proxy_of_the_environment_is_used(
    origin: Origin, source: HttpSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Origin() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url())
        assert whole(source, ask(origin.serve("/f", DATA))) == DATA
        assert proxy.seen == []
