from . import (
    adapters,
    data,
    data_driven,
    gains,
    growth,
    initializers,
    models,
    names,
    parametrizations,
    race,
    recipes,
    resuming,
    schemes,
)
from .adapters import AdapterRecord, initialize_adapters
from .auditing import audit
from .axes import Axes
from .checking import Finding, Report, assert_healthy, check
from .checkpoints import Written, write
from .conversion import Converted, convert
from .coordinates import CoordinateCheck, coord_check
from .counting import Count, count
from .data_driven import lsuv
from .drawing import draw
from .errors import (
    ArgumentError,
    CaptureError,
    DataError,
    FaninError,
    HalfWrittenError,
    MissingExtraError,
    PlanError,
    TraceError,
    UnhealthyError,
    UnknownNameError,
    WeightsError,
)
from .heads import HeadChange, Reinitialized, new_head, reinitialize_last
from .loading import Ledger, load
from .mean_field import ActivationView, activation
from .parametrizations import Parametrized, parametrize
from .plans import Plan
from .plans.steps import Step
from .race import RaceInterrupted, RaceResult, compare
from .torch.capture import Captured, capture
from .torch.files import open_weights, save
from .torch.materialize import materialize, module_init
from .torch.planning import initialize, plan
from .torch.protection import keep, unkeep
from .vocabulary import Extension, extend_vocabulary

__version__: str

__all__ = [
    "ActivationView",
    "AdapterRecord",
    "ArgumentError",
    "Axes",
    "CaptureError",
    "Captured",
    "Converted",
    "CoordinateCheck",
    "Count",
    "DataError",
    "Extension",
    "FaninError",
    "Finding",
    "HalfWrittenError",
    "HeadChange",
    "Ledger",
    "MissingExtraError",
    "Parametrized",
    "Plan",
    "PlanError",
    "RaceInterrupted",
    "RaceResult",
    "Reinitialized",
    "Report",
    "Step",
    "TraceError",
    "UnhealthyError",
    "UnknownNameError",
    "WeightsError",
    "Written",
    "__version__",
    "activation",
    "adapters",
    "assert_healthy",
    "audit",
    "capture",
    "check",
    "compare",
    "convert",
    "coord_check",
    "count",
    "data",
    "data_driven",
    "draw",
    "extend_vocabulary",
    "gains",
    "growth",
    "initialize",
    "initialize_adapters",
    "initializers",
    "keep",
    "load",
    "lsuv",
    "materialize",
    "models",
    "module_init",
    "names",
    "new_head",
    "open_weights",
    "parametrizations",
    "parametrize",
    "plan",
    "race",
    "recipes",
    "reinitialize_last",
    "resuming",
    "save",
    "schemes",
    "unkeep",
    "write",
]
