"""Filling arrays as a plan would, for the tests of initializers."""

from __future__ import annotations

import numpy as np
import pytest

from fanin.random import Region, Stream


@pytest.fixture
def fill():
    """fill(law, shape) -> the values as float64 (bfloat16 bits decoded), or raw as stored."""

    def call(law, shape, dtype="float32", *, seed=0, name="w", region=None, threads=None, raw=False):
        region = region or Region.whole(shape)
        out = np.empty(region.size, "uint16" if dtype == "bfloat16" else dtype)
        law.fill(out, Stream.named(seed, name), region, threads=threads)
        if raw:
            return out
        if dtype == "bfloat16":
            out = (out.astype(np.uint32) << 16).view(np.float32)
        return out.astype(np.float64)

    return call
