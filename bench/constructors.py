"""Whole models: capture + materialize against their own constructors and AnyInit, and the peak memory of each.

    python bench/constructors.py MODEL

Every model has a process of its own for the times, in which the contestants take turns, and one for each peak.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.util import find_spec
from time import perf_counter

import torch
import transformers
from memory import peak_bytes, peak_reset
from rows import best_seconds, table
from torch import nn

from fanin.random import default_threads
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize

Build = Callable[[], nn.Module]
GPT2_WANTED = 15.0


def _model(head: str, config: str, **numbers: int) -> nn.Module:
    return getattr(transformers, head)(getattr(transformers, config)(**numbers))


MODELS: dict[str, Build] = {
    "GPT-2": partial(_model, "GPT2LMHeadModel", "GPT2Config"),
    "GPT-2 large": partial(_model, "GPT2LMHeadModel", "GPT2Config", n_embd=1280, n_layer=36, n_head=20),
    "ViT-B/16": partial(_model, "ViTForImageClassification", "ViTConfig", num_labels=1000),
    "ResNet-50": partial(_model, "ResNetForImageClassification", "ResNetConfig", num_labels=1000),
    "Llama-1B": partial(
        _model, "LlamaForCausalLM", "LlamaConfig", hidden_size=2048, intermediate_size=8192, num_hidden_layers=16,
        num_attention_heads=32, num_key_value_heads=8, vocab_size=128256, tie_word_embeddings=True,
    ),
}  # fmt: skip
LARGE = ("GPT-2 large", "Llama-1B")


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of each contestant (None: it does not run on this model), and peak bytes above what imports need."""

    model: str
    parameters: int
    constructor: float
    ours: float
    zeros: float
    anyinit: float | None
    constructor_peak: int = 0
    ours_peak: int = 0

    @property
    def times(self) -> float:
        return self.constructor / self.ours

    @property
    def reached(self) -> bool:
        return self.model != "GPT-2" or self.times >= GPT2_WANTED


def figures() -> list[Measured]:
    """All models, measured now; some minutes, most of them the constructors' and AnyInit's."""
    return [_figures(name) for name in MODELS]


def markdown(found: list[Measured]) -> str:
    """One line a model."""
    head = ["model", "parameters", "constructor", "capture + materialize", "times faster", "wanted"]
    head += [
        "zeros into fresh memory",
        "AnyInit on the built model",
        "our peak ÷ weights",
        "constructor's peak ÷ weights",
    ]
    return table(head, _lines(found))


def _lines(found: list[Measured]) -> Iterator[list[str]]:
    for each in found:
        wanted = "" if each.model != "GPT-2" else f"≥ {GPT2_WANTED:g}×{'' if each.reached else ' **missed**'}"
        yield [
            each.model,
            f"{each.parameters / 1e6:.0f} M",
            f"{each.constructor:.2f} s",
            f"{each.ours:.3f} s",
            f"{each.times:.1f}×",
            wanted,
            f"{each.zeros:.3f} s",
            _anyinit_cell(each),
            f"{each.ours_peak / (4 * each.parameters):.2f}",
            f"{each.constructor_peak / (4 * each.parameters):.2f}",
        ]


def _anyinit_cell(each: Measured) -> str:
    if each.model in LARGE:
        return "not measured: it takes minutes"
    return "does not run" if each.anyinit is None else f"{each.anyinit:.2f} s"


def _figures(name: str) -> Measured:
    times = json.loads(_own_process(name, "times"))
    peaks = {f"{who}_peak": int(_own_process(name, who)) for who in ("constructor", "ours")}
    return Measured(**times, **peaks)


def _own_process(name: str, what: str) -> str:
    threads = {"OMP_NUM_THREADS": str(default_threads())}
    run = subprocess.run(
        [sys.executable, __file__, name, what], capture_output=True, text=True, check=True, env=os.environ | threads
    )
    return run.stdout.splitlines()[-1]


def _planned(build: Build) -> nn.Module:
    captured = capture(build)
    return materialize(captured.model, captured.plan)


def _times(name: str) -> Measured:
    build = MODELS[name]
    build()  # imports its code
    warm = capture(lambda: nn.Linear(4, 4))
    materialize(warm.model, warm.plan)  # loads the kernels
    parameters = sum(tensor.numel() for tensor in capture(build).model.parameters())
    zeros = partial(_zeros, parameters)
    rounds = 2 if name in LARGE else 8
    constructor, ours, zero = best_seconds([build, partial(_planned, build), zeros], rounds)
    return Measured(name, parameters, constructor, ours, zero, None if name in LARGE else _anyinit(build()))


def _zeros(count: int) -> None:
    torch.empty(count).zero_()


def _anyinit(model: nn.Module) -> float | None:
    if find_spec("anyinit") is None:
        return None
    import anyinit

    start = perf_counter()
    try:
        anyinit.initialize(model, seed=0)
        return perf_counter() - start
    except (anyinit.AnyInitError, RuntimeError, TypeError, ValueError):
        return None


def _peak(name: str, who: str) -> int:
    warm = capture(lambda: nn.Linear(4, 4))
    materialize(warm.model, warm.plan)
    build = MODELS[name]
    peak_reset()
    before = peak_bytes()
    model = build() if who == "constructor" else _planned(build)
    del model
    return peak_bytes() - before


if __name__ == "__main__":
    chosen, what = sys.argv[1:]
    print(json.dumps({k: v for k, v in asdict(_times(chosen)).items() if not k.endswith("_peak")})
          if what == "times" else _peak(chosen, what))  # fmt: skip
