"""Rounding to bfloat16 bits."""

from __future__ import annotations

import numpy as np
import torch

from fanin.initializers.storage import bfloat16_bits


def test_bfloat16_bits_are_torchs_for_all_kinds_of_floats():
    high = np.arange(2**16, dtype=np.uint32) << 16
    for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        values = (high | low).astype(np.uint32).view(np.float32)
        values = values[~np.isnan(values)]
        expected = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
        np.testing.assert_array_equal(bfloat16_bits(values), expected)


def test_nan_stays_nan():
    bits = bfloat16_bits(np.array([np.nan, np.float32("inf")], np.float32)).astype(np.uint32) << 16
    assert np.isnan(bits.view(np.float32)).tolist() == [True, False]
