"""Who looks for garbage, and when."""

from __future__ import annotations

import gc

from dragonfly.boot.garbage import rare_collections


async def test_growth_alone_makes_no_full_collection() -> None:
    before = gc.get_threshold()
    gc.collect()
    full = gc.get_stats()[2]["collections"]
    async with rare_collections():
        assert gc.get_threshold()[:2] == before[:2], "the young are collected as ever"
        kept = [[number] for number in range(400_000)]
        assert gc.get_stats()[2]["collections"] == full
    assert gc.get_threshold() == before
    assert len(kept) == 400_000
