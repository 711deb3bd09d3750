"""What 2/5 of the variance behind norms is worth: `auto` with it, `auto` without it, torch's default.

    python bench/behind_norms.py                          five small transformers, 8 seeds each, in half an hour
    python bench/behind_norms.py --models gpt --seeds 4   some of it
    python bench/behind_norms.py --write                  the table into docs/auto.md

Every start has its own learning rate, from two pilots with other seeds.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import mean, stdev

from rows import table
from torch import nn

import fanin
from fanin.race import RaceResult, Settings, compare
from fanin.recipes import stream

PAGE = Path(__file__).parents[1] / "docs" / "auto.md"
_MEASURED = re.compile(r"(<!-- behind norms -->\n).*?(<!-- end -->\n)", re.DOTALL)

TEXT = "text,context=32,train=4000,test=128"
CHARACTERS = Settings(150, 16, "adam", rates=(3e-4, 1e-3, 3e-3, 1e-2), evaluate_every=5)
IMAGES = Settings(200, 64, "adamw", rates=(1e-3, 3e-3, 1e-2), evaluate_every=10)
DECODER = "transformer:depth=4,width=64"
MODELS: Mapping[str, tuple[str, str, Settings]] = {
    "gpt": (f"{DECODER},tied=false", TEXT, CHARACTERS),
    "gpt, tied": (DECODER, TEXT, CHARACTERS),
    "gpt, post-norm": (f"{DECODER},tied=false,placement=post", TEXT, CHARACTERS),
    "llama": (f"{DECODER},norm=rms,activation=swiglu,position=rotary", TEXT, CHARACTERS),
    "vit": ("vit:width=64,depth=4,heads=4,patch=7", "fashion-mnist,train=4000,test=1000", IMAGES),
}
STARTS = ("native", "gain 1", "auto")


@contextmanager
def _gain_one() -> Iterator[None]:
    known, stream.BEHIND_NORM = stream.BEHIND_NORM, 1.0
    try:
        yield
    finally:
        stream.BEHIND_NORM = known


def _wide(model: nn.Module, seed: int, inputs: object) -> None:
    with _gain_one():
        fanin.initialize(model, "auto", inputs, seed=seed)


def race(name: str, seeds: int) -> RaceResult:
    """The three starts of one model."""
    model, data, settings = MODELS[name]
    starts = {"native": "native", "gain 1": _wide, "auto": "auto"}
    return compare(model, fanin.data.load(data), starts, seeds, settings=settings, pilots=2, engine="sequential")


def row(name: str, result: RaceResult) -> list[str]:
    """The model, and for each start rate and last test loss."""
    cells = [name]
    for start in STARTS:
        runs = result.of(start)
        losses = [run.test_losses[-1] for run in runs]
        cells.append(f"{mean(losses):.3f} ± {stdev(losses) / len(losses) ** 0.5:.3f} ({runs[0].rate:g})")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=";".join(MODELS), help="names, with ; between them")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--write", action="store_true", help="put the table into docs/auto.md")
    chosen = parser.parse_args()
    names = chosen.models.split(";")
    if unknown := [name for name in names if name not in MODELS]:
        parser.error(f"unknown model {unknown[0]!r}; known: {'; '.join(MODELS)}")
    if chosen.write and names != [*MODELS]:
        parser.error("--write puts the whole table into the page: leave --models out")
    rows = [row(name, race(name, chosen.seeds)) for name in names]
    head = ["model", "torch's default (its rate)", "`auto` with gain 1 there", "`auto`"]
    measured = f"{table(head, rows)}\n"
    print(measured)
    if chosen.write:
        text = _MEASURED.sub(lambda found: found[1] + measured + found[2], PAGE.read_text(encoding="utf-8"))
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
