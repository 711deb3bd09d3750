"""Every kernel × dtype once, over an odd-offset part and an odd whole. Run as a script it prints their hashes.

`python tests/random/cases.py` in a process whose NUMBA_CPU_NAME says another CPU must print the same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from hashlib import blake2b

import numpy as np

from fanin.random import Region, Stream, normal, truncated_normal, uniform, words

DTYPES = ("float32", "float64", "float16", "uint16")
LAWS: dict[str, Callable[..., None]] = {
    "uniform": partial(uniform, low=-0.3, high=0.7),
    "normal": partial(normal, mean=0.001, std=0.7),
    "truncated": partial(truncated_normal, mean=0.001, std=0.7, lower=-2.0, upper=1.5),
    "truncated tail": partial(truncated_normal, mean=0.0, std=1.0, lower=-8.0, upper=-6.0),
}
CASES = {f"{law} {dtype}": (fill, dtype) for law, fill in LAWS.items() for dtype in DTYPES} | {
    "truncated wide float32": (
        partial(truncated_normal, mean=0.001, std=0.7, lower=-3.0, upper=2.5),
        "float32",
    ),
    "truncated far float64": (
        partial(truncated_normal, mean=0.0, std=1.0, lower=39.5, upper=float("inf")),
        "float64",
    ),
    "words uint32": (words, "uint32"),
}
STREAM = Stream.named(7, "layers.0.weight").at_lane(3)
REGIONS = (Region((9, 1003), (1, 5), (6, 777)), Region((40_103,), (3,), (40_097,)))


def drawn(case: str, region: Region, **how: int) -> np.ndarray:
    """The values of a case over a region."""
    fill, dtype = CASES[case]
    out = np.empty(region.size, dtype)
    fill(out, STREAM, region, **how)
    return out


def hash_of(case: str) -> str:
    """One hash of all bits of a case."""
    return blake2b(b"".join(drawn(case, region).tobytes() for region in REGIONS), digest_size=8).hexdigest()


if __name__ == "__main__":
    json.dump({case: hash_of(case) for case in CASES}, sys.stdout, indent=4)
