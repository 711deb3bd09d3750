"""A race that was stopped by Ctrl-C."""

from __future__ import annotations

from fanin.race.result import RaceResult


class RaceInterrupted(KeyboardInterrupt):
    """Ctrl-C during `fanin.compare`; what was finished is kept.

    Attributes:
        result: the runs of the race that were finished; None where the learning rates were not yet chosen.
        done: how many runs of the race were finished.
        total: how many there are.

    >>> str(RaceInterrupted(None, 0, 24, "store"))
    'interrupted: 0 of 24 runs are finished; they are kept in store: the same call with it goes on from there'
    """

    def __init__(self, result: RaceResult | None, done: int, total: int, store: str | None) -> None:
        self.result, self.done, self.total, self.store = result, done, total, store
        kept = (
            f"they are kept in {store}: the same call with it goes on from there"
            if store
            else "give store= a folder to go on from there another time"
        )
        super().__init__(f"interrupted: {done} of {total} runs are finished; {kept}")
