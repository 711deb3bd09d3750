"""Values that were loaded and are no longer there, and rows of a vocabulary that nothing wrote."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from fanin.auditing.records import Scene, Seen
from fanin.checking import Finding, Severity

_SMALL, _LARGE = 0.01, 100.0


def overwritten(scene: Scene) -> Iterator[Finding]:
    """Tensors whose values are not those of the reference."""
    if scene.reference is None:
        return
    for seen in scene.tensors:
        meant = next((scene.reference[name] for name in (seen.name, *seen.aliases) if name in scene.reference), None)
        if meant is None or seen.load is None or tuple(meant.shape) != seen.shape:
            continue
        values = seen.load()
        rounded = meant.to(values.dtype)
        if torch.equal(values.cpu(), rounded.cpu()):
            continue
        change, lost = _change(values, rounded), _rounded_to(values, meant)
        yield Finding(
            "overwritten",
            "warning" if lost else "error",
            seen.name,
            f"values that differ from the reference by {change:.2g} of its size, std {seen.std or 0.0:.3g} for "
            f"{float(rounded.double().std(correction=0)):.3g}",
            "the reference's values, bit for bit",
            f"the loaded values were rounded to {lost} and widened again"
            if lost
            else "an init ran after the load and wrote over what was loaded"
            + (f" (marked by {seen.protected})" if seen.protected else ""),
            "fanin.load(model, reference)" if scene.source == "model" else "fanin.open_weights(reference)",
        )


def new_rows(scene: Scene) -> Iterator[Finding]:
    """Rows of an embedding that are zero, equal, or of quite another size than the others."""
    for seen in scene.of_role("embedding"):
        rows = seen.seconds
        if seen.kind != "parameter" or len(rows) < 16 or seen.numbers is None or seen.numbers.constant:
            continue
        odd = _odd_rows(seen)
        first_new = _rows_before(seen, scene)
        new = first_new is not None and bool(len(odd)) and bool((odd >= first_new).any())
        if len(odd) and (new or len(odd) < len(rows) / 2):
            yield Finding(
                "new-rows",
                _severity(scene, new),
                seen.name,
                f"{len(odd)} of {len(rows)} rows ({_ranges(odd)}) are zero or of quite another size than the others",
                "rows like the others, or those that fanin.extend_vocabulary makes",
                "tokens that were added, or a table that was padded, without an init of the new rows",
                f'model.get_parameter("{seen.name}").data[{odd.tolist() if len(odd) < 9 else slice_of(odd)}] = '
                f'model.get_parameter("{seen.name}").data.mean(0)',
            )


def _severity(scene: Scene, new: bool) -> Severity:
    return "warning" if new or not scene.trained else "info"


def _odd_rows(seen: Seen) -> np.ndarray:
    """Rows without the padding token's whose root mean square is far from the median."""
    sizes = np.sqrt(seen.seconds)
    usual = float(np.median(sizes))
    padding = {use.padding for use in seen.uses}
    odd = np.flatnonzero((sizes < _SMALL * usual) | (sizes > _LARGE * usual))
    return np.array([row for row in odd.tolist() if row not in padding], dtype=np.int64)


def _rows_before(seen: Seen, scene: Scene) -> int | None:
    known = None if scene.reference is None else scene.reference.get(seen.name)
    return None if known is None or known.ndim != 2 or known.shape[0] >= seen.shape[0] else int(known.shape[0])


def slice_of(rows: np.ndarray) -> str:
    """A slice from the first to the last of many rows."""
    return f"{int(rows[0])}:{int(rows[-1]) + 1}"


def _ranges(rows: np.ndarray) -> str:
    first, last = int(rows[0]), int(rows[-1])
    return f"row {first}" if first == last else f"{first} to {last}"


def _rounded_to(values: torch.Tensor, meant: torch.Tensor) -> str:
    """The dtype of 16 bits through which the values went, if they are otherwise the reference's."""
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(values.cpu(), meant.cpu().to(dtype).to(values.dtype)):
            return str(dtype).removeprefix("torch.")
    return ""


def _change(values: torch.Tensor, meant: torch.Tensor) -> float:
    size = float(meant.double().norm())
    moved = float((values.double().cpu() - meant.double().cpu()).norm())
    return moved / size if size else float("inf")
