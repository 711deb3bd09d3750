"""Extreme singular values of the Jacobians of layers and blocks, at the first sample of the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from fanin.initializers import Normal
from fanin.random.stream import Stream
from fanin.torch.fill import fill
from fanin.torch.probe.batch import arguments, tensors_in

STEPS = 24
_CONTAINERS = (nn.ModuleList, nn.Sequential)
_PLAIN = (bool, int, float, str)
_LOOKUPS = (nn.Embedding, nn.EmbeddingBag)

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Jacobian:
    """∂output/∂input of one module for one sample.

    Attributes:
        name: qualified name of the module.
        type: its class.
        largest: its largest singular value.
        smallest: an upper bound of its smallest: the smallest that the steps found; exact where they span the space.
    """

    name: str
    type: str
    largest: float
    smallest: float


def jacobians(model: nn.Module, inputs: Any, seed: int) -> tuple[list[Jacobian], list[str]]:
    """Of every linear or convolutional layer, and of every block (a child with children, of a list or sequence).

    Each is measured when the forward pass reaches it, at its input's first sample, with no more kept than the module's
    own pass. A module that is called several times counts at its first call.

    Returns:
        what was measured, and the names of modules that have no Jacobian that autograd can differentiate again.
    """
    found: list[Jacobian] = []
    failed: list[str] = []
    done: set[str] = set()

    def enter(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if name in done:
            return
        nested = set(done)
        done.update(inner for inner, _ in model.named_modules())  # the passes below go through the same hooks
        try:
            seen = _measured(name, module, args, kwargs, seed)
            found.extend(seen)
        except (RuntimeError, NotImplementedError, TypeError):
            failed.append(name)
        finally:
            done.clear()
            done.update(nested | {name})

    with ExitStack() as stack, torch.no_grad():
        for name, module in _chosen(model):
            stack.callback(module.register_forward_pre_hook(partial(enter, name), with_kwargs=True).remove)
        args, kwargs = arguments(inputs)
        model(*args, **kwargs)
    return found, failed


def _chosen(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if _multiplies(module):
            yield name, module
        for key, child in module.named_children() if isinstance(module, _CONTAINERS) else ():
            if next(child.children(), None) is not None and next(child.parameters(), None) is not None:
                yield f"{name}.{key}" if name else key, child


def _multiplies(module: nn.Module) -> bool:
    leaf = next(module.children(), None) is None and not isinstance(module, _LOOKUPS)
    return leaf and any(parameter.ndim > 1 for parameter in module.parameters())


def _measured(name: str, module: nn.Module, args: Any, kwargs: Any, seed: int) -> Iterator[Jacobian]:
    source = next((t for t in tensors_in((args, kwargs)) if t.is_floating_point()), None)
    if source is None or source.ndim < 2:
        return
    count = source.shape[0]
    point = source.detach()[:1].clone().requires_grad_()

    def first(leaf: Any) -> Any:
        if leaf is source:
            return point
        if not isinstance(leaf, Tensor):
            return leaf if leaf is None or isinstance(leaf, _PLAIN) else deepcopy(leaf)  # a cache that it writes to
        return leaf.detach()[:1] if leaf.ndim > 1 and leaf.shape[0] == count else leaf

    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        some, named = tree_map(first, (args, kwargs))
        out = next(t for t in tensors_in(module(*some, **named)) if t.is_floating_point())
        push = torch.zeros_like(out, requires_grad=True)
        (pulled,) = torch.autograd.grad(out, point, push, create_graph=True)

        def times(v: Tensor) -> Tensor:
            # Jᵀu is linear in u: its derivative in the direction of v is J·v.
            return torch.autograd.grad(pulled, push, v.reshape(point.shape).to(point.dtype), retain_graph=True)[
                0
            ].detach()

        def back(u: Tensor) -> Tensor:
            return torch.autograd.grad(out, point, u.reshape(out.shape).to(out.dtype), retain_graph=True)[0].detach()

        # From the narrower side, where the steps span all there is.
        wide = point.numel() > out.numel()
        start = torch.empty((out if wide else point).shape, dtype=torch.float32)
        fill(start, Normal(), Stream.named(seed, f"jacobian.{name}"))
        values = extremes(*((back, times) if wide else (times, back)), start.to(point.device))
    yield Jacobian(name, type(module).__name__, *values)


def extremes(times: Product, back: Product, start: Tensor) -> tuple[float, float]:
    """Largest and smallest singular value of a matrix J that is known by its products, after 24 Lanczos steps.

    Golub–Kahan bidiagonalisation with full reorthogonalisation: the singular values of the small matrix lie between
    those of J, the largest converges first.

    Args:
        times: J·v, `back`: Jᵀ·u.
        start: where v starts, not zero; J has at least as many rows as it has entries.

    Source: Golub and Kahan, "Calculating the singular values and pseudo-inverse of a matrix" (1965).

    >>> matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    >>> extremes(lambda v: matrix @ v, lambda u: matrix.T @ u, torch.ones(3))
    (3.0, 1.0)
    """
    steps = min(STEPS, start.numel())
    right = [start.flatten().double() / torch.linalg.vector_norm(start.double())]
    left: list[Tensor] = []
    small = torch.zeros(steps, steps, dtype=torch.float64)
    for at in range(steps):
        u = _without(times(right[at].to(start.dtype)).flatten().double(), left)
        small[at, at] = alpha = float(torch.linalg.vector_norm(u))
        if at + 1 == steps or not alpha:
            break
        left.append(u / alpha)
        v = _without(back(left[at].to(start.dtype)).flatten().double(), right)
        small[at, at + 1] = beta = float(torch.linalg.vector_norm(v))
        if beta <= 1e-6 * float(small[0, 0]):
            small = small[: at + 1, : at + 1]
            break
        right.append(v / beta)
    values = torch.linalg.svdvals(small)
    return float(f"{float(values[0]):.6g}"), float(f"{float(values[-1]):.6g}")


def _without(vector: Tensor, basis: list[Tensor]) -> Tensor:
    """Twice, since once leaves rounding errors."""
    if not basis:
        return vector
    table = torch.stack(basis)
    for _ in range(2):
        vector = vector - table.T @ (table @ vector)
    return vector
