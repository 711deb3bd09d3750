"""What the tests of random numbers share."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fanin.random import Region, Stream


@pytest.fixture(scope="session")
def cases() -> ModuleType:
    """The module cases.py beside this file."""
    spec = spec_from_file_location("random_cases", Path(__file__).with_name("cases.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    """draw(fill, count, *numbers) → values of a whole vector of the stream named "w" under seed 0."""

    def draw(
        fill: Callable[..., None], count: int, *numbers: float, dtype: str = "float32", name: str = "w"
    ) -> np.ndarray:
        out = np.empty(count, dtype)
        fill(out, Stream.named(0, name), Region.whole((count,)), *numbers)
        return out

    return draw
