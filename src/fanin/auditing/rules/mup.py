"""muP's metadata, without which a model is silently in standard parametrization."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.auditing.records import Scene
from fanin.checking import Finding


def mup(scene: Scene) -> Iterator[Finding]:
    """Modules of the package mup, and parameters without `infshape`."""
    readouts = [name for name, kind in scene.types.items() if kind.startswith("mup.")]
    if not readouts or not scene.shapeless:
        return
    yield Finding(
        "mup",
        "error",
        scene.shapeless[0],
        f"{len(scene.shapeless)} parameters without infshape beside {scene.types[readouts[0]]} ({readouts[0]})",
        "an infshape on every parameter",
        "set_base_shapes was not called, or FSDP, deepcopy or a checkpoint dropped the attribute: the optimizer scales "
        "nothing",
        "mup.set_base_shapes(model, base, delta=delta)",
    )
