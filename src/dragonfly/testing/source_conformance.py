"""What every Source must do, as tests: subclass it in a test file of your plug-in's own.

    class TestSftp(SourceConformance):
        def make(self) -> Source:
            return SftpSource(SourcePolicy())

        def publish(self, name: str, data: bytes) -> str:
            ...                     # put `data` where the source finds it, and return its URL

        def withdraw(self, name: str) -> None: ...

`publish` may be called again with the same name: the content has changed then. Ours pass it too
(tests/unit/source/test_conformance.py).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from dragonfly.core.validators import Validators
from dragonfly.errors import DragonflyError, SourceError, SourceUnreachable
from dragonfly.source.base import Source, SourceRequest, SourceStream

__all__ = ["SourceConformance", "read_all"]

_DATA = bytes(range(256)) * 1000


def read_all(stream: SourceStream, chunk: int = 64 * 1024) -> bytes:
    """All that a stream gives, in buffers of `chunk` bytes."""
    buffer = memoryview(bytearray(chunk))
    found = bytearray()
    while count := stream.readinto(buffer):
        assert 0 < count <= chunk, f"readinto said {count} for a buffer of {chunk}"
        found += buffer[:count]
    return bytes(found)


class SourceConformance:
    """Give the three methods; set an attribute to False where the backend can't have it."""

    ranges = True
    revalidates = True

    def make(self) -> Source:
        raise NotImplementedError

    def publish(self, name: str, data: bytes) -> str:
        raise NotImplementedError

    def withdraw(self, name: str) -> None:
        raise NotImplementedError

    def request(self, url: str) -> SourceRequest:
        """What to ask with; for backends that want credentials."""
        return SourceRequest(url=url, timeout_s=5.0)

    def _read(self, source: Source, url: str, start: int = 0, end: int | None = None, chunk: int = 65536) -> bytes:
        with source.open(self.request(url), start, end) as stream:
            return read_all(stream, chunk)

    def _refusal(self, source: Source, url: str, start: int = 0, end: int | None = None) -> DragonflyError:
        try:
            with source.open(self.request(url), start, end) as stream:
                read_all(stream)
        except DragonflyError as error:
            return error
        raise AssertionError("nothing was raised")

    # ---------------------------------------------------------------- reading

    def test_it_says_how_long_the_content_is(self) -> None:
        source, url = self.make(), self.publish("a", _DATA)
        assert source.describe(self.request(url)).length == len(_DATA)
        with source.open(self.request(url)) as stream:
            assert stream.described.length == len(_DATA)
        source.close()

    def test_the_whole_is_what_was_published(self) -> None:
        source, url = self.make(), self.publish("a", _DATA)
        assert self._read(source, url) == _DATA
        assert self._read(source, url, chunk=1000) == _DATA
        source.close()

    def test_small_buffers_get_all_bytes_too(self) -> None:
        source, url = self.make(), self.publish("a", _DATA[:100])
        assert self._read(source, url, chunk=1) == _DATA[:100]
        source.close()

    def test_any_range_is_those_bytes(self) -> None:
        if not self.ranges:
            return
        source, url = self.make(), self.publish("a", _DATA)
        size = len(_DATA)
        for start, end in ((0, 1), (1, 2), (1000, 70_000), (size - 1, size), (size - 10, None), (0, size), (5, None)):
            assert self._read(source, url, start, end) == _DATA[start:end], f"[{start}, {end})"
        source.close()

    def test_a_range_says_how_long_the_whole_is(self) -> None:
        if not self.ranges:
            return
        source, url = self.make(), self.publish("a", _DATA)
        with source.open(self.request(url), 10, 20) as stream:
            assert stream.described.length == len(_DATA)
            assert stream.described.ranges
        source.close()

    def test_a_range_that_ends_behind_the_last_byte_ends_there(self) -> None:
        if not self.ranges:
            return
        source, url = self.make(), self.publish("a", _DATA)
        assert self._read(source, url, len(_DATA) - 5, len(_DATA) + 100) == _DATA[-5:]
        assert self._read(source, url, 0, 10 * len(_DATA)) == _DATA
        source.close()

    def test_a_range_outside_of_the_content_is_refused(self) -> None:
        source, url = self.make(), self.publish("a", _DATA)
        for start in (len(_DATA), len(_DATA) + 100):
            error = self._refusal(source, url, start)
            assert isinstance(error, SourceError)
            assert not isinstance(error, SourceUnreachable), "asking again would not help"
        source.close()

    def test_a_source_without_ranges_says_so(self) -> None:
        if self.ranges:
            return
        source, url = self.make(), self.publish("a", _DATA)
        assert not source.describe(self.request(url)).ranges
        assert isinstance(self._refusal(source, url, 10), SourceError)
        with source.open(self.request(url), 0, 10) as stream:
            assert not stream.described.ranges
            assert read_all(stream) == _DATA
        source.close()

    def test_an_empty_content_has_no_bytes_and_is_no_error(self) -> None:
        source, url = self.make(), self.publish("empty", b"")
        assert source.describe(self.request(url)).length == 0
        assert self._read(source, url) == b""
        assert self._read(source, url, 0, 1_000_000) == b""
        source.close()

    def test_names_with_blanks_and_letters_of_all_kinds(self) -> None:
        source = self.make()
        for name in ("a b", "ä", "100%", "x+y"):
            url = self.publish(name, name.encode())
            assert self._read(source, url) == name.encode()
        source.close()

    def test_a_stream_can_be_left_in_the_middle(self) -> None:
        source, url = self.make(), self.publish("a", _DATA * 8)
        buffer = memoryview(bytearray(1000))
        for _ in range(20):
            with source.open(self.request(url)) as stream:
                assert stream.readinto(buffer) > 0
        assert self._read(source, url, 0, None) == _DATA * 8
        source.close()

    def test_after_the_end_there_is_nothing_more(self) -> None:
        source, url = self.make(), self.publish("a", _DATA[:10])
        with source.open(self.request(url)) as stream:
            assert read_all(stream) == _DATA[:10]
            assert stream.readinto(memoryview(bytearray(10))) == 0
            assert stream.readinto(memoryview(bytearray(10))) == 0
        source.close()

    # ---------------------------------------------------------------- refusals

    def test_what_is_not_there_is_refused_for_good(self) -> None:
        source, url = self.make(), self.publish("a", _DATA)
        self.withdraw("a")
        error = self._refusal(source, url)
        assert isinstance(error, SourceError)
        assert error.status == 404
        assert error.final
        status = None
        try:
            source.describe(self.request(url))
        except SourceError as refusal:
            status = refusal.status
        assert status == 404, "describe refuses it too"
        source.close()

    def test_errors_and_repr_keep_secrets(self) -> None:
        source, url = self.make(), self.publish("a", _DATA)
        self.withdraw("a")
        request = SourceRequest(
            url=f"{url}?signature=very-secret", headers={"Authorization": "very-secret"}, timeout_s=5.0
        )
        said = [repr(request)]
        try:
            source.open(request)
        except DragonflyError as error:
            said += [str(error), repr(error)]
        assert not any("very-secret" in text for text in said)
        source.close()

    # ---------------------------------------------------------------- validators

    def test_what_has_not_changed_is_unchanged(self) -> None:
        if not self.revalidates:
            return
        source, url = self.make(), self.publish("a", _DATA)
        validators = source.describe(self.request(url)).validators
        assert source.unchanged(self.request(url), validators)
        assert source.unchanged(self.request(url), validators)
        source.close()

    def test_what_has_changed_is_not(self) -> None:
        source, url = self.make(), self.publish("a", _DATA)
        with source.open(self.request(url)) as stream:
            validators = stream.described.validators
        self.publish("a", _DATA[::-1])
        assert not source.unchanged(self.request(url), validators)
        source.close()

    def test_without_validators_nothing_is_known_to_be_unchanged(self) -> None:
        source, url = self.make(), self.publish("a", _DATA)
        assert not source.unchanged(self.request(url), Validators())
        source.close()

    # ---------------------------------------------------------------- many at once

    def test_threads_share_it(self) -> None:
        source = self.make()
        contents = [os.urandom(50_000 + number) for number in range(8)]
        urls = [self.publish(f"t{number}", data) for number, data in enumerate(contents)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda url: self._read(source, url, chunk=4096), urls * 4))
        assert found == contents * 4
        source.close()

    def test_it_can_be_closed_twice(self) -> None:
        source = self.make()
        source.close()
        source.close()
