"""The race: the same model and the same data, several recipes."""

from fanin.race.compare import compare
from fanin.race.course import Settings
from fanin.race.result import RaceResult, Run, Standing

__all__ = ["RaceResult", "Run", "Settings", "Standing", "compare"]
