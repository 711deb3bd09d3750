"""How fast tensors on an accelerator are filled, both ways, and whether the bits are the CPU's.

    python bench/device.py [elements] [rounds]

Without an accelerator it says so and measures nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
from rows import best_seconds

from fanin.initializers import Initializer, Normal, TruncatedNormal, Uniform
from fanin.random import Region, Stream
from fanin.torch.device.choice import own_law, trial
from fanin.torch.device.host import fill_through_host
from fanin.torch.device.pure import fill_pure, law_for

NOT_MEASURED = "not measured: torch has no accelerator here"
LAWS: tuple[tuple[Initializer, Callable[[torch.Tensor], torch.Tensor]], ...] = (
    (Uniform(-1.0, 1.0), partial(torch.nn.init.uniform_, a=-1.0, b=1.0)),
    (Normal(0.0, 0.02), partial(torch.nn.init.normal_, std=0.02)),
    (TruncatedNormal(0.0, 0.02, corrected=False), partial(torch.nn.init.trunc_normal_, std=0.02, a=-0.04, b=0.04)),
)
DTYPES = (torch.float32, torch.bfloat16, torch.float64)
HEADER = ("what", "through the host", "on the device", "torch.nn.init", "zeros", "chosen", "bits as on the CPU")


def table(elements: int = 1 << 27, rounds: int = 3) -> str:
    """The figures as a Markdown table, in G values a second, or a line that says why there are none."""
    device = torch.accelerator.current_accelerator()
    if device is None:
        return NOT_MEASURED
    kinds = [(law, torchs, dtype) for law, torchs in LAWS for dtype in DTYPES if _exists(device, dtype)]
    lines = [HEADER, ("---", *["---:"] * (len(HEADER) - 1))]
    lines += [_line(torch.device(device), *kind, elements, rounds) for kind in kinds]
    module = torch.get_device_module(device)
    name = module.get_device_name() if hasattr(module, "get_device_name") else device.type
    return f"{name}, G values a second:\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _exists(device: torch.device, dtype: torch.dtype) -> bool:
    return not (device.type == "mps" and dtype is torch.float64)


def _line(
    device: torch.device, initializer: Initializer, torchs: Callable, dtype: torch.dtype, elements: int, rounds: int
) -> tuple[str, ...]:
    target = torch.empty(elements, dtype=dtype, device=device)
    part, stream, law = Region.whole((elements,)), Stream.named(0, "bench"), law_for(initializer, dtype)
    verdict = trial(device, type(initializer), dtype)
    fills: dict[str, Callable[[], object]] = {
        "host": partial(fill_through_host, target, initializer, stream, part),
        "torch": partial(torchs, target),
        "zeros": target.zero_,
    }
    if verdict.same_bits and law is not None:
        fills["device"] = partial(fill_pure, target, law, stream, part)

    def finished(fill: Callable[[], object]) -> None:
        fill()
        torch.accelerator.synchronize()

    seconds = best_seconds([partial(finished, fill) for fill in fills.values()], rounds)
    speeds = {name: f"{elements / each / 1e9:.3g}" for name, each in zip(fills, seconds, strict=True)}
    results = {}
    for name in fills.keys() & {"host", "device"}:
        fills[name]()
        results[name] = target.cpu().view(torch.uint8)
    same = "device" in results and torch.equal(results["host"], results["device"])
    figures = (speeds.get(name, "none") for name in ("host", "device", "torch", "zeros"))
    chosen = "the device" if own_law(target, initializer, part) else "the host"
    return (f"{type(initializer).__name__} {dtype}", *figures, chosen, "yes" if same else "**no**")


if __name__ == "__main__":
    print(table(*(int(text) for text in sys.argv[1:])))
