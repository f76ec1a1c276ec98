"""What may cross from another zone into ours: each piece about once.

The seed sees to it where it serves several of us: it chooses for a zone what none of its
children there has (`uploads`). So a far seed is asked for pieces of its choice only. Far
neighbours know less: two of us would ask two of them for the same. They help where the
seed keeps us waiting, with what nobody near has. And where nothing comes at all, the seed
is wrong about our zone (a child that lies has got what nobody will have of it): then it is
asked by name, too.
"""

from __future__ import annotations

from dragonfly.swarm.parents import Parent, Parents

__all__ = ["by_name"]


def by_name(parent: Parent, parents: Parents, patience_s: float, progress_at: float, now: float) -> int:
    """Pieces (a bitmap) for which `parent`, of another zone, may be asked now.

    `patience_s`: so long without a byte a seed is given time, and so long without a new piece,
    of which the last came at `progress_at`, the way between zones is left to seeds.
    """
    going_on = now - progress_at < patience_s
    if going_on and (parent.seed or any(seed.seed and _serves(seed, patience_s, now) for seed in parents)):
        return 0
    return parent.has & ~parents.within()


def _serves(seed: Parent, patience_s: float, now: float) -> bool:
    """A dry one does, too: what it has is in our zone already, or on its way."""
    return not seed.suspect and (seed.dry or now - seed.heard_at < patience_s)
