"""Documented mistakes in the code of models and libraries, where the values show them."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.auditing.fresh import follows
from fanin.auditing.records import Scene
from fanin.checking import Finding
from fanin.plans.defects import DEFECTS

_HABITS = "torch.nn"


def known(scene: Scene) -> Iterator[Finding]:
    """The table of `Plan.diff`: habits of torch.nn as info, slips of a model's code as warnings."""
    for defect in DEFECTS:
        for seen in scene.tensors:
            step = seen.native
            if step is None or seen.planned is not None or not defect.shows(scene.model, step):
                continue
            if seen.numbers is not None and follows(seen, step) is not True:
                continue  # trained, or drawn otherwise
            yield Finding(
                "known-defect",
                "info" if _HABITS in defect.source else "warning",
                seen.name,
                f"drawn by the model's own code: {step.why}",
                "what the paper or the authors' own code draws",
                f"{defect.what} ({defect.source})",
                f'fanin.initialize(model, recipe="{_recipe(scene.model)}")',
            )


def _recipe(model: str) -> str:
    """The recipe that has the authors' own numbers."""
    return "rwkv" if model.startswith("Rwkv") else "auto"
