"""Initializers: where values come from, with every number resolved."""

from fanin.initializers.base import Initializer as Initializer
from fanin.initializers.blocks import Blocks as Blocks
from fanin.initializers.constant import Constant as Constant
from fanin.initializers.constant import Ones as Ones
from fanin.initializers.constant import Zeros as Zeros
from fanin.initializers.delta_orthogonal import DeltaOrthogonal as DeltaOrthogonal
from fanin.initializers.dirac import Dirac as Dirac
from fanin.initializers.identity import Identity as Identity
from fanin.initializers.mapped import Mapped as Mapped
from fanin.initializers.mirrored import Mirrored as Mirrored
from fanin.initializers.negated import Negated as Negated
from fanin.initializers.normal import Normal as Normal
from fanin.initializers.orthogonal import Orthogonal as Orthogonal
from fanin.initializers.ramp import Cycle as Cycle
from fanin.initializers.ramp import Ramp as Ramp
from fanin.initializers.row_normalized import RowNormalized as RowNormalized
from fanin.initializers.scaled import Scaled as Scaled
from fanin.initializers.sparse import Sparse as Sparse
from fanin.initializers.truncated_normal import TruncatedNormal as TruncatedNormal
from fanin.initializers.uniform import Uniform as Uniform
