"""A count as a table: what each module adds, the memory of a training step, parameters per sample."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from fanin.counting import Count
from fanin.report import text
from fanin.report.layout import Field, grid, heading, stack, widest_fitting


def count_report(count: Count, width: int, model: str = "") -> RenderableType:
    """One row per module that adds something and their sum; then the bytes of a training step and their sum.

    Args:
        count: the count.
        width: columns of the terminal; a narrow one loses the classes of the modules.
        model: what to call the model; by default its class.
    """
    at = "" if count.batch is None else f" · batch {text.count(count.batch)}"
    says = [Text(count.overfitting)] if count.overfitting else []
    notes = [Text(f"note: {note}", style="dim") for note in count.notes]
    trainable = Text(f"{text.count(count.trainable)} of {text.plural(count.parameters, 'parameter')} are trained")
    below = [*([""] if says else []), *says, *notes]
    return stack(
        heading(f"{model or count.model}{at}"), "", _modules(count, width), "", _bytes(count), "", trainable, *below
    )


def _modules(count: Count, width: int) -> RenderableType:
    rows = count.modules
    activations = [*(module.activations for module in rows), count.bytes.activations]
    name = Field("module", [*(module.name or "(model)" for module in rows), "total"])
    kind = Field("class", [*(module.kind for module in rows), ""], "dim")
    numbers = [
        Field(
            "parameters",
            [*(text.count(module.parameters) for module in rows), text.count(count.parameters)],
            number=True,
        ),
        Field("MACs", [*(text.count(module.macs) for module in rows), text.count(count.macs)], number=True),
        Field("FLOPs", [*(text.count(module.flops) for module in rows), text.count(count.flops)], number=True),
        Field("activations", list(map(text.size, activations)), number=True),
    ]
    chosen = widest_fitting([[name, kind, *numbers], [name, *numbers]], width)
    return grid(chosen, total=True)


def _bytes(count: Count) -> RenderableType:
    parts = {
        "weights": count.bytes.weights,
        "buffers": count.bytes.buffers,
        "gradients": count.bytes.gradients,
        "Adam's moments": count.bytes.adam,
        "activations": count.bytes.activations,
    }
    told = {name: octets for name, octets in parts.items() if octets} | {"in all": count.bytes.training}
    memory = Field("memory of a training step", list(told))
    return grid(
        [
            memory,
            Field("bytes", list(map(text.count, told.values())), number=True),
            Field("", list(map(text.size, told.values())), number=True),
        ],
        total=True,
    )
