"""The race: the same model and the same data, several ways to start."""

from fanin.race.choice import Choice, Trial
from fanin.race.compare import compare
from fanin.race.comparing import Comparison
from fanin.race.interrupted import RaceInterrupted
from fanin.race.moment import Moment
from fanin.race.result import RaceResult
from fanin.race.run import Run
from fanin.race.settings import Settings
from fanin.race.standing import Standing
from fanin.race.starts import Start
from fanin.race.store import manifest as manifest

__all__ = [
    "Choice",
    "Comparison",
    "Moment",
    "RaceInterrupted",
    "RaceResult",
    "Run",
    "Settings",
    "Standing",
    "Start",
    "Trial",
    "compare",
]
