"""The audit of GPT-2 small against one read of its weights: `python bench/audit.py`.

Alternating, the best of several: the whole audit, the pass over the values alone, and Σ of every tensor by torch.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from transformers import GPT2Config, GPT2LMHeadModel

import fanin
from fanin.auditing.units import looked_through

TIMES = 9


def best(works: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The shortest time of each, all taken in turn."""
    found = dict.fromkeys(works, float("inf"))
    for _ in range(TIMES):
        for name, work in works.items():
            start = perf_counter()
            work()
            found[name] = min(found[name], perf_counter() - start)
    return found


def main() -> None:
    """Print the ratios."""
    model = GPT2LMHeadModel(GPT2Config())
    tensors = [tensor.detach() for tensor in model.parameters()]
    fanin.audit(model)  # compiles the kernels
    times = best(
        {
            "read": lambda: [float(tensor.sum()) for tensor in tensors],
            "values": lambda: [looked_through(tensor, None) for tensor in tensors],
            "audit": lambda: fanin.audit(model),
        }
    )
    print({name: round(1e3 * each, 1) for name, each in times.items()})
    gigabytes = sum(tensor.nbytes for tensor in tensors) / 1e9
    print(f"GPT-2 small, {gigabytes:.2f} GB of float32")
    print(f"pass over the values: {times['values'] / times['read']:.1f} times one read")
    print(f"whole audit:          {times['audit'] / times['read']:.1f} times one read")


if __name__ == "__main__":
    main()
