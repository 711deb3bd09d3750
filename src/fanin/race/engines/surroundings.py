"""The process-wide state that training uses, put back afterwards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch


@contextmanager
def surroundings(threads: int) -> Generator[None]:
    """Within: so many of torch's threads, gradients on; after: threads and random state as before."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(), torch.inference_mode(False), torch.enable_grad():
        try:
            torch.set_num_threads(threads)
            yield
        finally:
            torch.set_num_threads(before)
