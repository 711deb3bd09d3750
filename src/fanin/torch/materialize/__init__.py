"""Materialize: a plan's values, written into a model."""

from fanin.torch.materialize.execution import Progress as Progress
from fanin.torch.materialize.execution import materialize as materialize
from fanin.torch.materialize.modules import module_init as module_init
