"""Probe: one forward and backward pass on a batch, and the moments of every layer's signal."""

from fanin.torch.probe.batch_pass import ParameterProbe as ParameterProbe
from fanin.torch.probe.batch_pass import Probe as Probe
from fanin.torch.probe.batch_pass import probe as probe
from fanin.torch.probe.first_loss import FirstLoss as FirstLoss
from fanin.torch.probe.histogram import Histogram as Histogram
from fanin.torch.probe.histogram import Spread as Spread
from fanin.torch.probe.jacobian import Jacobian as Jacobian
from fanin.torch.probe.layer_probe import LayerProbe as LayerProbe
from fanin.torch.probe.likeness import Likeness as Likeness
from fanin.torch.probe.moments import Moments as Moments
from fanin.torch.probe.precision import Precision as Precision
