"""Parametrizations: muP, spectral, CompleteP, depth-muP and u-muP, without base-shape objects.

`fanin.parametrize` scales a model; here is what goes with it: the names, the record, and `attach` for models that are
loaded from a checkpoint.
"""

from fanin.parametrizations.marks import attach, record_of
from fanin.parametrizations.parametrize import parametrize
from fanin.parametrizations.placing import Tuned
from fanin.parametrizations.record import Parametrized
from fanin.parametrizations.schemes import Scheme, complete_p, named, names

__all__ = [
    "Parametrized",
    "Scheme",
    "Tuned",
    "attach",
    "complete_p",
    "named",
    "names",
    "parametrize",
    "record_of",
]
