"""LSUV in one forward pass: its time in evaluation passes, what it reaches, and the two packages that do the like.

AnyInit is measured where it is installed (`pip install anyinit`), the package `lsuv` likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from time import process_time

import torch
from rows import Row
from torch import Tensor, nn

import fanin

ROUNDS = 2
_LINEAR = (nn.Conv2d, nn.Linear)


def rows() -> list[Row]:
    """The figures as rows of a table."""
    return [*_in_passes(), *_against_anyinit(), *_against_lsuv()]


def _resnet(depth: int) -> nn.Module:
    """ResNet-18 (11,689,512 parameters) or ResNet-50 (25,557,032), by transformers."""
    from transformers import ResNetConfig, ResNetForImageClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    shapes = {
        18: ("basic", [2, 2, 2, 2], [64, 128, 256, 512]),
        50: ("bottleneck", [3, 4, 6, 3], [256, 512, 1024, 2048]),
    }
    kind, depths, widths = shapes[depth]
    config = ResNetConfig(layer_type=kind, depths=depths, hidden_sizes=widths, num_labels=1000)
    return ResNetForImageClassification(config)


def _batch(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def _in_passes() -> Iterator[Row]:
    model, batch = _resnet(50), _batch(16, 224)
    for recipe in ("orthogonal", "he"):
        actions = [_forward(model, batch), lambda recipe=recipe: fanin.lsuv(model, batch, recipe=recipe)]
        turns = [[_seconds(action) for action in actions] for _ in range(ROUNDS)]
        plain, ours = map(min, zip(*turns, strict=True))
        name = f"ResNet-50, 16 images of 224²: planning, drawing (`{recipe}`) and scaling, in evaluation passes"
        yield Row(name, ours / plain, 1.0, "passes", limit=2.0)
    worst = max(abs(variance - 1) for variance in _variances(model, batch))
    yield Row("… largest |variance − 1| of its 54 layers' outputs", worst, None, "off", limit=0.01)


def _against_anyinit() -> Iterator[Row]:
    if find_spec("anyinit") is None:
        return
    import anyinit

    ours, theirs, batch = _resnet(50), _resnet(50), _batch(2, 224)
    yield from _contest(
        "ResNet-50, 2 images of 224²: Gaussian weights, against AnyInit's `empirical`",
        (ours, lambda: fanin.lsuv(ours, batch, recipe="he")),
        (theirs, lambda: anyinit.initialize(theirs, "empirical", batch)),
        50.0,
    )


def _against_lsuv() -> Iterator[Row]:
    if find_spec("lsuv") is None:
        return
    from lsuv import lsuv_with_singlebatch

    ours, theirs, batch = _resnet(18), _Logits(_resnet(18)), _batch(8, 224)
    yield from _contest(
        "ResNet-18, 8 images of 224²: orthogonal weights, against the package `lsuv`",
        (ours, lambda: fanin.lsuv(ours, batch)),
        (theirs, lambda: lsuv_with_singlebatch(theirs, batch, verbose=False)),
        5.0,
    )


class _Logits(nn.Module):
    """A model of transformers as a function from a tensor to a tensor."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits


Contestant = tuple[nn.Module, Callable[[], object]]


def _contest(name: str, ours: Contestant, theirs: Contestant, target: float) -> Iterator[Row]:
    """Ours before and after theirs, which takes too long to be run more than once."""
    ours[1]()  # the first call also loads code
    before, our_passes = _counted(*ours)
    seconds, their_passes = _counted(*theirs)
    after, _ = _counted(*ours)
    yield Row(name, min(before, after), seconds, "CPU s", target=target)
    yield Row("… forward passes", our_passes, their_passes, "passes")


def _counted(model: nn.Module, action: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and how often the model ran."""
    seen: list[int] = []
    handle = model.register_forward_pre_hook(lambda *_: seen.append(1))
    seconds = _seconds(action)
    handle.remove()
    return seconds, float(len(seen))


def _seconds(action: Callable[[], object]) -> float:
    """Of all this process's threads: the contests are too long for a machine to be idle all the while."""
    start = process_time()
    action()
    return process_time() - start


def _forward(model: nn.Module, batch: Tensor) -> Callable[[], object]:
    def run() -> object:
        model.eval()
        with torch.no_grad():
            return model(batch)

    return run


def _variances(model: nn.Module, batch: Tensor) -> list[float]:
    """The variance of each layer's outputs, by hooks."""
    found: list[float] = []
    layers = [module for module in model.modules() if isinstance(module, _LINEAR)]
    handles = [m.register_forward_hook(lambda _, __, out: found.append(float(out.var(correction=0)))) for m in layers]
    _forward(model, batch)()
    for handle in handles:
        handle.remove()
    return found
