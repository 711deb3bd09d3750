"""Eight real ranks for the tests of this folder, started once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest


@pytest.fixture(scope="session")
def pool() -> Iterator[Any]:
    """pool.run(world, job, *arguments) → what each rank returns."""
    spec = spec_from_file_location("rank_pool", Path(__file__).with_name("rank_pool.py"))
    module = sys.modules["rank_pool"] = module_from_spec(spec)
    spec.loader.exec_module(module)
    with TemporaryDirectory(prefix="ranks-") as place:  # short: a socket's path may have some hundred bytes only
        ranks = module.RankPool(Path(place))
        yield ranks
        ranks.close()
