"""What check claims to find, seeded one at a time, with the rule, the verdict and the tensor.

An issue is a number of USERS.md; "signal" is what no issue names and a check is for: a signal that does not survive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from fanin.checking import Report, check
from fanin.torch.planning import initialize, plan


def batch(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels(count: int, classes: int = 10) -> torch.Tensor:
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(2))


def mlp(layers: int = 3, width: int = 64, activation: type[nn.Module] | None = nn.Tanh, out: int = 10) -> nn.Sequential:
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(width, width), *([activation()] if activation else [])]
    model = nn.Sequential(*parts, nn.Linear(width, out))
    initialize(model, "xavier", batch(8, width))
    return model


def scaled(model: nn.Module, gain: float) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(gain)
    return model


def vanishing() -> Report:
    return check(scaled(mlp(8), 0.1), batch(32, 64))


def exploding() -> Report:
    return check(scaled(mlp(6, activation=nn.ReLU), 10.0), batch(32, 64))


def exploding_gradients() -> Report:
    return check(scaled(mlp(10), 10.0), batch(32, 64))


def linear_net() -> Report:
    """Products of square random matrices become rank one, at a depth of some widths; each layer keeps the norm here."""
    torch.manual_seed(0)

    class Renormed(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.normalize(super().forward(x), dim=-1) * 4

    model = nn.Sequential(*(Renormed(16, 16, bias=False) for _ in range(150)))
    return check(model, batch(32, 16))


def biased() -> Report:
    model = mlp(12)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(batch(*parameter.shape))
            else:
                parameter.mul_(0.35)
    return check(model, batch(32, 64))


class Attention(nn.Module):
    """Attention without shortcuts."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
        for linear in (self.qkv, self.out):
            nn.init.normal_(linear.weight, 0, width**-0.5, generator=torch.Generator().manual_seed(width))
            nn.init.zeros_(linear.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


def sharp_attention() -> Report:
    model = nn.Sequential(Attention(32), nn.Linear(32, 8))
    with torch.no_grad():
        model[0].qkv.weight[:64].mul_(10)
    return check(model, batch(4, 24, 32))


def dead() -> Report:
    model = mlp(activation=nn.ReLU)
    nn.init.constant_(model[2].bias, -30.0)
    return check(model, batch(32, 64))


def saturated() -> Report:
    model = mlp(2)
    with torch.no_grad():
        model[0].weight.mul_(15)
    return check(model, batch(32, 64))


def saturated_gates() -> Report:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.value, self.gate, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
            nn.init.constant_(self.gate.bias, 9.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.value(x) * torch.sigmoid(self.gate(x)))

    return check(Gated(), batch(32, 64))


def loud_head() -> Report:
    model = mlp()
    nn.init.normal_(model[-1].weight, generator=torch.Generator().manual_seed(0))
    return check(model, batch(64, 64), labels(64))


def leaking_labels() -> Report:
    """The labels stand in the inputs, and the model reads them off."""
    model = nn.Sequential(nn.Linear(10, 10, bias=False))
    nn.init.eye_(model[0].weight)
    targets = labels(64)
    return check(model, 8.0 * F.one_hot(targets, 10).float(), targets)


def overflow() -> Report:
    model = mlp()
    nn.init.constant_(model[2].weight, 1e38)
    return check(model, batch(16, 64))


def damaged() -> Report:
    model = mlp()
    with torch.no_grad():
        model[2].weight[1, 2] = float("nan")
    return check(model, batch(16, 64))


def constant() -> Report:
    model = mlp()
    nn.init.constant_(model[0].weight, 0.1)
    nn.init.constant_(model[2].weight, 0.1)
    return check(model, batch(16, 64))


def twins() -> Report:
    model = mlp()
    with torch.no_grad():
        model[0].weight[5], model[0].bias[5] = model[0].weight[9], model[0].bias[9]
        model[2].weight[:, 5] = model[2].weight[:, 9]
    return check(model, batch(16, 64))


def unused() -> Report:
    model = mlp()
    model.register_parameter("spare", nn.Parameter(torch.ones(3)))
    return check(model, batch(16, 64))


def zeros() -> Report:
    return check(mlp(), torch.zeros(16, 64))


def pixels() -> Report:
    return check(mlp(activation=nn.ReLU), batch(16, 64) * 3e3)


def low_rank() -> Report:
    """Eight columns each are copies, so that the weight adds up what inputs of one sign have in common."""
    model = mlp(activation=nn.ReLU)
    with torch.no_grad():
        model[0].weight.copy_(model[0].weight[:, :8].repeat(1, 8))
    return check(model, batch(64, 64).abs(), plan=plan(model, "xavier", batch(8, 64)))


def off_plan() -> Report:
    model = mlp()
    return check(scaled(model, 2.0), batch(16, 64), plan=plan(model, "xavier", batch(8, 64)))


def large_steps() -> Report:
    return check(mlp(), batch(16, 64), labels(16), lr=0.5)


def lost_steps() -> Report:
    return check(mlp().bfloat16(), batch(16, 64).bfloat16(), lr=1e-5)


def small_sgd_steps() -> Report:
    return check(mlp(), batch(16, 64), labels(16), lr=1e-8, optimizer="sgd")


class Cancelling(nn.Module):
    """Adds a large number and takes it away again, which bfloat16 does not survive."""

    def __init__(self, large: float) -> None:
        super().__init__()
        self.large = large

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.large) - self.large


def rounded() -> Report:
    model = mlp()
    return check(nn.Sequential(model[:2], Cancelling(300.0), model[2:]), batch(16, 64), thorough=True)


def divides_by_a_rounded_difference() -> Report:
    class Divided(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / ((1 + torch.full_like(x, 1e-3)) - 1) * 1e-3

    model = mlp()
    return check(nn.Sequential(model[:2], Divided(), model[2:]), batch(16, 64), thorough=True)


def too_large_for_half() -> Report:
    model = mlp(2, activation=None)
    with torch.no_grad():
        model[0].weight.mul_(60)
        model[1].weight.mul_(2e3)
    return check(model, batch(16, 64), thorough=True)


def sigmoids() -> Report:
    """Xavier's gain of 1 for a nonlinearity whose slope is at most 1/4."""
    return check(mlp(10, activation=nn.Sigmoid), batch(32, 64))


def torch_default() -> Report:
    """`reset_parameters`' a = √5: a third of He's variance."""
    torch.manual_seed(0)
    hidden = [part for _ in range(20) for part in (nn.Linear(64, 64), nn.ReLU())]
    return check(nn.Sequential(*hidden, nn.Linear(64, 10)), batch(32, 64))


def by_head_width() -> Report:
    """Weights drawn by the width of a head instead of the width of the model: 16 times the variance."""
    model = mlp(6, activation=None)
    for layer in model:
        nn.init.normal_(layer.weight, 0, 4**-0.5, generator=torch.Generator().manual_seed(0))
    return check(model, batch(32, 64))


def depthwise() -> Report:
    """torch counts the fan-out of a grouped convolution over all groups: the variance is divided by their number."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(4):
        parts += [nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), nn.ReLU()]
        nn.init.kaiming_normal_(parts[-2].weight, mode="fan_out")
    return check(nn.Sequential(*parts, nn.Flatten(), nn.Linear(32 * 36, 10)), batch(16, 32, 6, 6))


class Tokens(nn.Module):
    """A language model of one layer whose output matrix is its table, or not."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(50, 64), nn.LayerNorm(64)
        self.head = nn.Linear(64, 50, bias=False)
        nn.init.normal_(self.table.weight, generator=torch.Generator().manual_seed(0))
        nn.init.normal_(self.head.weight, 0, 0.02, generator=torch.Generator().manual_seed(1))
        if tied:
            self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.table(ids)))


def tokens(model: nn.Module) -> Report:
    return check(model, torch.arange(64).reshape(8, 8) % 50, labels(64, 50).reshape(8, 8))


def tied_table() -> Report:
    return tokens(Tokens(tied=True))


def loud_rows() -> Report:
    model = Tokens(tied=False)
    nn.init.normal_(model.head.weight[40:].detach(), generator=torch.Generator().manual_seed(2)).mul_(4)
    return tokens(model)


def t5_head() -> Report:
    import transformers

    torch.manual_seed(0)
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 4, "vocab_size": 99}
    config = transformers.T5Config(**sizes, tie_word_embeddings=False)
    return check(transformers.T5ForConditionalGeneration(config))


def stale_memory() -> Report:
    class Scan(nn.Module):
        """A state-space layer whose rates were never written."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.rates = nn.Linear(64, 64), nn.Parameter(torch.full((64,), 1e37))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x) * torch.exp(self.rates)

    torch.manual_seed(0)
    return check(Scan(), batch(16, 64))


class Case(NamedTuple):
    """One defect: the check of a model that has it, and what it must say (a tensor of "": which one is left open)."""

    name: str
    issue: str
    report: Callable[[], Report]
    rule: str
    tensor: str
    verdict: str = "healthy"


CASES = (
    Case("weights a tenth of their size", "signal", vanishing, "vanishing", "2.weight", "vanishing"),
    Case("weights ten times their size", "signal", exploding, "exploding", "4.weight", "exploding"),
    Case("tanh with weights ten times their size", "signal", exploding_gradients, "exploding", "", "exploding"),
    Case("sigmoid with tanh's gain", "B1", sigmoids, "vanishing", "", "vanishing"),
    Case("twenty layers of torch's default", "B3", torch_default, "collapsing", "", "collapsing"),
    Case("scaled by the width of a head", "C6", by_head_width, "exploding", "", "exploding"),
    Case("depthwise fan-out", "C1", depthwise, "vanishing", "", "vanishing"),
    Case("150 linear layers", "signal", linear_net, "collapsing", "", "collapsing"),
    Case("biases drown the weights", "signal", biased, "collapsing", "", "collapsing"),
    Case("queries and keys too large", "signal", sharp_attention, "attention-entropy", "0:attention"),
    Case("biases of −30 before ReLU", "signal", dead, "dead", "3", "dead"),
    Case("inputs of tanh too large", "signal", saturated, "saturated", "1"),
    Case("gates that stand open", "signal", saturated_gates, "saturated", "gate:sigmoid"),
    Case("a head drawn as N(0, 1)", "F6", loud_head, "loss-above-uniform", "loss"),
    Case("T5's untied head", "F6", t5_head, "loss-above-uniform", "loss"),
    Case("a tied unit embedding", "I1", tied_table, "loss-above-uniform", "loss"),
    Case("new rows that outshout the old", "G2", loud_rows, "loss-above-uniform", "loss"),
    Case("labels in the inputs", "signal", leaking_labels, "loss-below-uniform", "loss"),
    Case("numbers that overflow", "F2", overflow, "non-finite", "2.weight", "non-finite"),
    Case("stale memory", "D1", stale_memory, "non-finite", "", "non-finite"),
    Case("a weight of NaN", "D2", damaged, "non-finite-weight", "2.weight", "non-finite"),
    Case("constants", "L2", constant, "symmetric", "0.weight", "symmetric"),
    Case("two equal units", "L5", twins, "twins", "0.weight"),
    Case("a parameter that forward skips", "F5", unused, "unused", "spare"),
    Case("a batch of zeros", "signal", zeros, "zero-inputs", "inputs"),
    Case("pixels from 0 to 10⁴", "signal", pixels, "input-scale", "inputs"),
    Case("columns that are copies", "signal", low_rank, "unexpected-moments", "0.weight"),
    Case("not what the plan draws", "D3", off_plan, "off-plan", "0.weight"),
    Case("a step that overwrites the start", "I3", large_steps, "update-too-large", ""),
    Case("steps below bfloat16's precision", "A7", lost_steps, "update-lost", ""),
    Case("SGD's steps below float32's", "signal", small_sgd_steps, "update-lost", ""),
    Case("large numbers that cancel in bfloat16", "A7", rounded, "bfloat16-error", "1"),
    Case("a difference that bfloat16 rounds to zero", "A7", divides_by_a_rounded_difference, "bfloat16-non-finite", ""),
    Case("too large for float16", "A7", too_large_for_half, "float16-overflow", "1"),
)
