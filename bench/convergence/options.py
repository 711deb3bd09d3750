"""What the part `convergence` of `./dev bench` can be told."""

from __future__ import annotations

import argparse
from pathlib import Path

QUICK_SEEDS, QUICK_STEPS = 2, 8
STORE = Path(__file__).parents[2] / "build" / "convergence"


def options(parser: argparse.ArgumentParser) -> None:
    """What the part can be told."""
    group = parser.add_argument_group("convergence")
    group.add_argument("--tasks", help="some of the ten, joined by commas; all by default")
    group.add_argument(
        "--quick", action="store_true", help=f"{QUICK_STEPS} steps and {QUICK_SEEDS} seeds: that it runs"
    )
    group.add_argument("--store", type=Path, default=STORE, help="folder of finished runs, from which it goes on")
    group.add_argument("--engine", default="auto", help="as in fanin.compare")
