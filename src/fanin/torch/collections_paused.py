"""Python's search for garbage, put off for a while."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def collections_paused() -> Generator[None]:
    """No garbage collection meanwhile.

    Records of all tensors of a model make Python search its whole heap, often more than once, which takes longer than
    to draw the values; the records live until the end, so that nothing would be found.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
