from . import gains, initializers, models, recipes, schemes
from .axes import Axes
from .checking import Finding, Report, check
from .checkpoints import Written, write
from .counting import Count, count
from .errors import (
    ArgumentError,
    CaptureError,
    DataError,
    FaninError,
    HalfWrittenError,
    MissingExtraError,
    PlanError,
    TraceError,
    UnknownNameError,
    WeightsError,
)
from .plans import Plan
from .plans.steps import Step
from .race import RaceResult, compare
from .torch.capture import Captured, capture
from .torch.files import open_weights, save
from .torch.materialize import materialize, module_init
from .torch.planning import initialize, plan
from .torch.protection import keep, unkeep

__version__: str

__all__ = [
    "ArgumentError",
    "Axes",
    "CaptureError",
    "Captured",
    "Count",
    "DataError",
    "FaninError",
    "Finding",
    "HalfWrittenError",
    "MissingExtraError",
    "Plan",
    "PlanError",
    "RaceResult",
    "Report",
    "Step",
    "TraceError",
    "UnknownNameError",
    "WeightsError",
    "Written",
    "__version__",
    "capture",
    "check",
    "compare",
    "count",
    "gains",
    "initialize",
    "initializers",
    "keep",
    "materialize",
    "models",
    "module_init",
    "open_weights",
    "plan",
    "recipes",
    "save",
    "schemes",
    "unkeep",
    "write",
]
