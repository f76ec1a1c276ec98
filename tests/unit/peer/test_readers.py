"""A local reader waits for its next verified bytes and for nothing else."""

from __future__ import annotations

import asyncio

import pytest

from dragonfly.core.pieces import PieceLayout
from dragonfly.errors import SourceError
from dragonfly.peer.readers import Readers

LAYOUT = PieceLayout(95, 10)
ALL = (1 << 10) - 1


async def test_what_is_there_is_given_at_once_up_to_the_first_gap() -> None:
    readers = Readers()
    assert await readers.available(LAYOUT, 0b1011, False, 0) == 20
    assert await readers.available(LAYOUT, 0b1011, False, 7) == 20
    assert await readers.available(LAYOUT, 0b1011, False, 35) == 40


async def test_the_last_byte_waits_for_the_check_of_the_whole() -> None:
    readers = Readers()
    assert await readers.available(LAYOUT, ALL, False, 0) == 94
    assert await readers.available(LAYOUT, ALL, True, 0) == 95
    wait = asyncio.ensure_future(readers.available(LAYOUT, ALL, False, 94))
    await asyncio.sleep(0)
    assert not wait.done()
    readers.wake_all()
    assert await wait is None, "look again"


async def test_a_reader_is_woken_by_its_own_piece_alone() -> None:
    readers = Readers()
    wait = asyncio.ensure_future(readers.available(LAYOUT, 0, False, 25))
    await asyncio.sleep(0)
    readers.had(1)
    await asyncio.sleep(0)
    assert not wait.done()
    readers.had(2)
    assert await wait is None


async def test_a_failure_reaches_those_who_wait_and_those_who_come() -> None:
    readers = Readers()
    waits = [asyncio.ensure_future(readers.available(LAYOUT, 0, False, at)) for at in (0, 0, 50)]
    await asyncio.sleep(0)
    readers.fail(SourceError("gone"))
    for wait in waits:
        with pytest.raises(SourceError, match="gone"):
            await wait
    with pytest.raises(SourceError, match="gone"):
        await readers.available(LAYOUT, ALL, True, 0)


async def test_a_reader_that_goes_away_disturbs_nobody() -> None:
    readers = Readers()
    gone = asyncio.ensure_future(readers.available(LAYOUT, 0, False, 0))
    stays = asyncio.ensure_future(readers.available(LAYOUT, 0, False, 0))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    readers.had(0)
    assert await stays is None
    readers.fail(SourceError("late"))
