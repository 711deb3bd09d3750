"""Probe: one forward and backward pass on a batch, and the moments of every layer's signal."""

from fanin.torch.probe.batch_pass import ParameterProbe as ParameterProbe
from fanin.torch.probe.batch_pass import Probe as Probe
from fanin.torch.probe.batch_pass import probe as probe
from fanin.torch.probe.layers import LayerProbe as LayerProbe
