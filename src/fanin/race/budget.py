"""How many steps fit into a number of seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import floor, log10

from fanin.errors import ArgumentError
from fanin.race.rates import SHORT
from fanin.race.settings import LOOKS

RESERVE = 0.8  # for rates outside the grid, and for a machine that is not always as fast
MOST_PASSES = 100
_ENOUGH = 0.5
_SHARE = 0.05
_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds of one run: of a step, and of a look at the test data."""

    step: float
    look: float

    def of(self, steps: int) -> float:
        """Seconds of a run of so many steps, with a look before and at most 40 on the way."""
        return steps * self.step + (1 + min(LOOKS, steps)) * self.look


def measured(lanes: int, budget: float, run: Callable[[int], float]) -> Speed:
    """The speed, from probes of 2, 4, 8, … steps until one takes half a second or a twentieth of the budget.

    Args:
        lanes: runs that train together in a probe.
        budget: seconds in all.
        run: trains all lanes for so many steps, with a look before and one after them, and returns the seconds.
    """
    run(1)  # what happens only once, as importing, choosing an engine, compiling
    steps, before, after = 2, run(1), run(2)
    while after < min(_ENOUGH, _SHARE * budget) and steps < _LONGEST:
        steps, before = 2 * steps, after
        after = run(steps)
    rise = 2 * (after - before) / steps / lanes
    step = rise if rise > 0 else after / steps / lanes
    return Speed(step, max(0.0, after / lanes - steps * step) / 2)


def runs_worth(starts: int, seeds: int, rates: int, pilots: int) -> float:
    """The work of a race, in runs of full length.

    >>> runs_worth(starts=2, seeds=8, rates=5, pilots=2)
    33.0
    """
    flown = 0.0 if rates == 1 else pilots * -(-rates // 2) + pilots * rates / SHORT if rates > 2 else pilots * rates
    return starts * (seeds + flown)


def fitting_steps(budget: float, spent: float, speed: Speed, worth: float, samples: int, batch: int) -> int:
    """The steps of a run, so that a race worth so many runs ends in time; at most 100 passes over the samples.

    Raises:
        ArgumentError: not even one step fits.
    """
    each = RESERVE * (budget - spent) / worth
    with_looks = (each - speed.look) / (speed.step + speed.look)  # fewer steps than looks: one after each step
    without = (each - (1 + LOOKS) * speed.look) / speed.step
    steps = floor(without if with_looks >= LOOKS else with_looks)
    if steps < 1:
        needed = spent + worth * speed.of(1) / RESERVE
        raise ArgumentError(
            f"a budget of {budget:g} s is too small for a single step of each run: this race needs about "
            f"{needed:.2g} s for that, and some hundred times as much to show anything"
        )
    return _rounded(min(steps, max(1, MOST_PASSES * samples // min(batch, samples))))


def _rounded(steps: int) -> int:
    """Two digits, downwards."""
    unit = 10 ** max(0, floor(log10(steps)) - 1)
    return steps // unit * unit
