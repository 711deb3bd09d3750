"""Data-driven initialization: scales measured on a batch, kept as steps of a plan."""

from fanin.data_driven.adaptive import admin as admin
from fanin.data_driven.grad import gradinit as gradinit
from fanin.data_driven.krahenbuhl import within_layer as within_layer
from fanin.data_driven.layer_sequential import lsuv as lsuv
from fanin.data_driven.magnitudes import weight_norm as weight_norm
from fanin.data_driven.meta import metainit as metainit
