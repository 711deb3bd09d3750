"""`fanin.torch.init` against `torch.nn.init`, call for call, at the same thread count."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from rows import Row, best_seconds

from fanin.torch import init

ELEMENTS = 1 << 26
SQUARE = (8192, 8192)


def rows(rounds: int = 4) -> list[Row]:
    """The table, measured now at torch's thread count; takes some minutes, most of them torch's."""
    large = [_large(name, numbers, dtype, target, rounds) for name, numbers, dtype, target in _LARGE]
    return [*large, *_matrices(rounds), *_tiny(rounds)]


_LARGE: list[tuple[str, dict[str, Any], torch.dtype, float | None]] = [
    ("uniform_", {}, torch.float32, 5.0),
    ("normal_", {}, torch.float32, 4.5),
    ("trunc_normal_", {}, torch.float32, 50.0),
    ("normal_", {}, torch.bfloat16, 4.0),
    ("xavier_uniform_", {}, torch.float32, 5.0),
    ("xavier_normal_", {}, torch.float32, 4.5),
    ("kaiming_uniform_", {}, torch.float32, 5.0),
    ("kaiming_normal_", {}, torch.float32, 4.5),
    ("normal_", {}, torch.float16, None),
    ("normal_", {}, torch.float64, None),
    ("uniform_", {}, torch.bfloat16, None),
]


def _large(name: str, numbers: dict[str, Any], dtype: torch.dtype, target: float | None, rounds: int) -> Row:
    tensor = torch.zeros(SQUARE, dtype=dtype)
    slow = name == "trunc_normal_"  # torch needs seconds for it
    turns = 1 if slow else rounds
    ours, theirs, zero = best_seconds([*_both(name, tensor, numbers), tensor.zero_], turns)
    speeds = [ELEMENTS / seconds / 1e9 for seconds in (ours, theirs)]
    label = f"{name} {str(dtype).removeprefix('torch.')}, 64M"
    return Row(label, *speeds, "G/s", target, of_zero_fill=zero / ours)


def _matrices(rounds: int) -> Iterator[Row]:
    for name, size, numbers, target in (
        ("orthogonal_", 4096, {}, 1.5),
        ("orthogonal_", 256, {}, None),
        ("sparse_", 1024, {"sparsity": 0.1}, 10.0),
        ("sparse_", 1024, {"sparsity": 0.5}, 10.0),
        ("sparse_", 1024, {"sparsity": 0.9}, 10.0),
    ):
        pair = _both(name, torch.zeros(size, size), numbers)
        ours, theirs = best_seconds(pair, 2 if size == 4096 else 10 * rounds)
        note = "".join(f", {key} {value:g}" for key, value in numbers.items())
        yield Row(f"{name} {size}²{note}", ours * 1e3, theirs * 1e3, "ms", target)


def _tiny(rounds: int) -> Iterator[Row]:
    for name in ("uniform_", "normal_", "trunc_normal_"):
        pair = [partial(_repeat, action) for action in _both(name, torch.zeros(64), {})]
        ours, theirs = best_seconds(pair, rounds)
        yield Row(f"{name} float32, 64 elements", ours * 1e4, theirs * 1e4, "µs")


def _repeat(action: Callable[[], object]) -> None:
    for _ in range(100):
        action()


def _both(name: str, tensor: torch.Tensor, numbers: dict[str, Any]) -> list[Callable[[], object]]:
    return [partial(getattr(module, name), tensor, **numbers) for module in (init, torch.nn.init)]
