"""What the supernode says about one task: what it is, the digests of its pieces, who the neighbours are, or no."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dragonfly.core.digest import known_digests
from dragonfly.core.messages import Digests, Fingerprint, Neighbours, TaskFailed, TaskInfo
from dragonfly.core.validators import Validators
from dragonfly.errors import DragonflyError, SourceError
from dragonfly.peer.settings import Pattern, SourcePolicy
from dragonfly.swarm import events as ev

if TYPE_CHECKING:
    from dragonfly.peer.runner import TaskRun

__all__ = ["Briefing"]


class Briefing:
    """The supernode's part of one `TaskRun`."""

    def __init__(self, run: TaskRun) -> None:
        self._run = run

    def heard(self, message: TaskInfo | Digests | Fingerprint | Neighbours | TaskFailed) -> None:
        run = self._run
        if run.stopped or run.parted:
            return
        match message:
            case TaskInfo():
                self._described(message)
            case Digests():
                self._digests(message.first, message.digests, message.sealed, pass_on=message.pass_on)
            case Fingerprint():
                self._fingerprint(message)
            case Neighbours():
                if run.meeting is not None and run.pattern is not Pattern.SOURCE:
                    run.meeting.neighbours(self._by_pattern(message))
            case TaskFailed():
                self._failed(message)

    def _described(self, info: TaskInfo) -> None:
        run = self._run
        if run.info is None:
            run.first_source = "p2p" if info.peers > 0 else "seed"
            run.drop_other_version(info.version, resumable=True)
            try:
                blob = run.create_blob(info, Validators.of(info.headers))
            except DragonflyError as error:
                run.fail(error)
                return
            if info.digests:
                blob.learn(0, info.digests)
            if info.sealed:
                run.sealing.seed_says_right()
            run.set_up(info, blob)
        elif run.meeting is not None:
            if info.ticket:
                run.meeting.info = run.info = msgspec.structs.replace(run.info, ticket=info.ticket)
            if info.version == run.info.version and info.piece_size == run.info.piece_size:
                self._digests(0, info.digests, info.sealed)
            else:
                run.part()

    def _digests(self, first: int, digests: bytes, sealed: bool, *, pass_on: bool = False) -> None:
        run = self._run
        if run.blob is None or run.policy is SourcePolicy.FIRST:
            return
        if digests:
            run.blob.learn(first, digests)
            run.feed(ev.DigestsKnown(known_digests(digests, first)))
        if pass_on and run.meeting is not None and run.download is not None:
            run.meeting.gossip.share(run.download.pieces.known)
        if sealed:
            run.sealing.seed_says_right()

    def _fingerprint(self, message: Fingerprint) -> None:
        run = self._run
        if run.blob is None or run.policy is SourcePolicy.FIRST:
            return
        if run.meeting is not None:
            run.meeting.gossip.fingerprint(message)
        if message.sealed:
            run.sealing.seed_says_right()

    def _by_pattern(self, message: Neighbours) -> Neighbours:
        if self._run.pattern is not Pattern.CDN:
            return message
        return Neighbours(key=message.key, add=tuple(peer for peer in message.add if peer.seed), drop=message.drop)

    def _failed(self, message: TaskFailed) -> None:
        run = self._run
        if run.sealed or run.policy is SourcePolicy.FIRST:
            return
        if message.final and run.download is None:
            run.fail(
                SourceError(
                    message.reason, subject=run.spec.shown_url, status=message.status, challenge=message.challenge
                )
            )
        else:
            run.spawn(run.source.fall_back(f"the seed could not: {message.reason}", message.retry_after))
