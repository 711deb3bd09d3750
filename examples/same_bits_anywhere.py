"""A value depends on the seed, the tensor's name and its index: threads, order and random state change nothing."""

import torch
from torch import nn

import fanin


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


plan = fanin.plan(fanin.capture(model), recipe="orthogonal")

torch.manual_seed(1)
one = fanin.materialize(model(), plan, seed=7)
torch.manual_seed(2)
other = fanin.materialize(model(), plan, seed=7)
another = fanin.materialize(model(), plan, seed=8)

print("same seed, same bits:", torch.equal(one[0].weight, other[0].weight))
print("another seed, other bits:", not torch.equal(one[0].weight, another[0].weight))
