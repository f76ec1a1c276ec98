from __future__ import annotations

from dragonfly.core.messages import BytesBy
from dragonfly.core.task import TaskKey
from dragonfly.scheduler.accounts import Accounts

A, B = TaskKey("url-a"), TaskKey("url-b")


def test_what_is_told_again_counts_once() -> None:
    accounts = Accounts()
    for peers in (10, 10, 25):
        accounts.heard(A, "n1", BytesBy(peers=peers, seed=5))
    accounts.heard(A, "n2", BytesBy(source=7, cache=1000))
    accounts.heard(B, "n1", BytesBy(peers=1))
    assert accounts.total == BytesBy(peers=26, seed=5, source=7)


def test_a_second_pull_of_the_same_task_counts_from_its_begin() -> None:
    accounts = Accounts()
    accounts.heard(A, "n1", BytesBy(peers=100, seed=50))
    accounts.heard(A, "n1", BytesBy(peers=30))
    accounts.heard(A, "n1", BytesBy(peers=40))
    assert accounts.total == BytesBy(peers=140, seed=50)


def test_a_forgotten_task_stays_in_the_total() -> None:
    accounts = Accounts()
    accounts.heard(A, "n1", BytesBy(peers=100))
    accounts.forget(A)
    accounts.forget(B)
    assert accounts.total == BytesBy(peers=100)
    accounts.heard(A, "n1", BytesBy(peers=100))
    assert accounts.total == BytesBy(peers=200)
