"""What every place for a supernode's state must do, as tests to subclass.

    class TestMine(StateConformance):
        def open(self) -> State:
            return MyState(self.address)    # again and again: the same place

Set `lasting` to False where the values end with the object. Ours pass it too
(tests/unit/supernode/state/test_conformance.py).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from dragonfly.supernode.state.base import State

__all__ = ["StateConformance"]


class StateConformance:
    """Give `open`; a place that is empty at the beginning of each test."""

    lasting = True

    def open(self) -> State:
        raise NotImplementedError

    # ---------------------------------------------------------------- one user

    def test_what_was_put_is_there(self) -> None:
        with closing(self.open()) as state:
            assert state.get("job", "a") is None
            state.put("job", "a", b"one")
            assert state.get("job", "a") == b"one"
            state.put("job", "a", b"two")
            assert state.get("job", "a") == b"two"

    def test_values_are_any_bytes(self) -> None:
        with closing(self.open()) as state:
            for number, value in enumerate((b"", b"\0", bytes(range(256)), b"x" * 1_000_000)):
                state.put("job", str(number), value)
                assert state.get("job", str(number)) == value
            assert state.all("job")["2"] == bytes(range(256))

    def test_keys_are_any_text(self) -> None:
        with closing(self.open()) as state:
            keys = ["", "a b", "ä/…:*?", "' OR 1=1 --", "a", "A"]
            for key in keys:
                state.put("job", key, key.encode())
            assert state.all("job") == {key: key.encode() for key in keys}

    def test_kinds_do_not_mix(self) -> None:
        with closing(self.open()) as state:
            state.put("job", "a", b"job")
            state.put("task", "a", b"task")
            state.remove("job", "a")
            assert state.all("job") == {}
            assert state.all("task") == {"a": b"task"}
            assert state.all("never seen") == {}

    def test_what_was_removed_is_gone_and_what_is_not_there_may_be_removed(self) -> None:
        with closing(self.open()) as state:
            state.put("job", "a", b"1")
            state.remove("job", "a")
            state.remove("job", "a")
            assert state.get("job", "a") is None
            assert state.add("job", "a", b"2") == b"2"

    def test_add_keeps_what_is_there(self) -> None:
        with closing(self.open()) as state:
            assert state.add("secret", "tickets", b"first") == b"first"
            assert state.add("secret", "tickets", b"second") == b"first"
            assert state.get("secret", "tickets") == b"first"

    def test_an_empty_value_is_there_too(self) -> None:
        with closing(self.open()) as state:
            assert state.add("secret", "a", b"") == b""
            assert state.add("secret", "a", b"late") == b""

    # ---------------------------------------------------------------- many

    def test_threads_share_it(self) -> None:
        def work(number: int) -> bytes:
            for turn in range(20):
                state.put("job", f"{number}-{turn}", b"%d" % turn)
            return state.add("secret", "one", b"%d" % number)

        with closing(self.open()) as state:
            with ThreadPoolExecutor(8) as pool:
                winners = set(pool.map(work, range(8)))
            assert len(winners) == 1
            assert len(state.all("job")) == 160

    def test_it_outlives_its_user(self) -> None:
        if not self.lasting:
            return
        with closing(self.open()) as state:
            state.put("job", "a", b"1")
        with closing(self.open()) as state:
            assert state.all("job") == {"a": b"1"}

    def test_two_at_once_see_each_others_values_and_agree_on_a_secret(self) -> None:
        if not self.lasting:
            return
        with closing(self.open()) as one, closing(self.open()) as other:
            one.put("job", "a", b"1")
            assert other.get("job", "a") == b"1"
            with ThreadPoolExecutor(2) as pool:
                for number in range(20):
                    key = str(number)
                    tries = [
                        pool.submit(state.add, "secret", key, name) for state, name in ((one, b"1"), (other, b"2"))
                    ]
                    assert len({found.result() for found in tries} | {other.get("secret", key)}) == 1
