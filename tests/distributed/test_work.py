"""The work and the memory of a rank fall as 1/ranks."""

from __future__ import annotations

from typing import Any

import pytest

WIDTH, LAYERS = 256, 6
SLACK = 1 << 18  # bytes for everything that does not grow with the tensors: statements, names, single values


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_elements_and_allocations_fall_as_one_over_ranks(pool: Any, world: int) -> None:
    elements = LAYERS * WIDTH**2
    for drawn, held, peak in pool.run(world, "work", WIDTH, LAYERS):
        assert drawn - LAYERS <= elements // world <= drawn  # one more each: the check before the first write
        assert held == 4 * elements // world
        assert held <= peak <= held + SLACK
