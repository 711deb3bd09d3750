"""What the processes of a distributed model hold."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.auditing.records import Scene
from fanin.checking import Finding


def replicas(scene: Scene) -> Iterator[Finding]:
    """The same part on two ranks with different values."""
    for name, (first, second) in scene.ranks.differing.items():
        yield Finding(
            "replicas",
            "error",
            name,
            f"ranks {first} and {second} hold different values of the same part",
            "replicas that are bit for bit the same",
            "each rank drew with its own random state (a seed per rank, or a load on one rank only)",
            "fanin.materialize(model, plan, seed=0)",
        )


def repeated(scene: Scene) -> Iterator[Finding]:
    """Different parts on two ranks with the same values."""
    for name, (first, second) in scene.ranks.repeated.items():
        yield Finding(
            "ranks",
            "error",
            name,
            f"ranks {first} and {second} hold bit for bit the same values for different parts",
            "different parts with values of their own",
            "every rank drew its shard from the same random state: the whole tensor repeats",
            "fanin.materialize(model, plan, seed=0)",
        )
