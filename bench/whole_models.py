"""Models of very many and of very large tensors against `torch.nn.init`, and an 8B model understood without memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rows import Row, best_seconds, markdown
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from fanin.plans import Plan
from fanin.random import default_threads
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize
from fanin.torch.planning import plan

ROUNDS = 10


class Tensors(nn.Module):
    """`count` parameters of one shape, from N(0, 0.02²)."""

    def __init__(self, count: int, *shape: int) -> None:
        super().__init__()
        self.tensors = nn.ParameterList(nn.Parameter(torch.empty(*shape)) for _ in range(count))
        self.draw()

    def draw(self) -> None:
        for tensor in self.tensors:
            nn.init.normal_(tensor, 0.0, 0.02)


def rows() -> list[Row]:
    """Every figure of this bench, measured now; takes about a minute."""
    materialize(*_planned(partial(Tensors, 4, 64)))  # compiles the kernels
    torch.set_num_threads(default_threads())
    return [
        _against_loop("10,000 tensors of 64: materialize", 1, 10_000, 64),
        _against_loop("10 tensors of 12M: materialize", 1, 10, 3000, 4000),
        *_captures(),
        *_llama(),
    ]


def _against_loop(name: str, target: float, count: int, *shape: int) -> Row:
    """A model that has its memory, drawn by a plan and by `torch.nn.init` in a loop."""
    model = Tensors(count, *shape)
    made = _planned(partial(Tensors, count, *shape))[1]
    theirs, ours = best_seconds([model.draw, lambda: materialize(model, made)], ROUNDS)
    return Row(name, ours, theirs, "s", target=target)


def _captures() -> list[Row]:
    def gpt2() -> nn.Module:
        return GPT2LMHeadModel(GPT2Config())

    def linears() -> nn.Module:
        return nn.ModuleList(nn.Linear(8, 8) for _ in range(10_000))

    theirs, ours = best_seconds([gpt2, partial(capture, gpt2)], ROUNDS)
    many = best_seconds([partial(capture, linears)], 1)[0]
    return [Row("GPT-2 (124M): capture alone", ours, theirs, "s"), Row("10,000 Linear(8, 8): capture", many, None, "s")]


def _planned(build: Callable[[], nn.Module]) -> tuple[nn.Module, Plan]:
    captured = capture(build)
    return captured.model, captured.plan


def _llama() -> list[Row]:
    """In a process of its own, so that its peak memory is its own."""
    done = subprocess.run([sys.executable, __file__, "llama"], capture_output=True, text=True, check=True)
    captured, captured_peak, planned, planned_peak = map(float, done.stdout.split())
    return [
        Row("Llama-3-8B: capture, first in its process", captured, None, "s", limit=2),
        Row("Llama-3-8B: peak memory until then", captured_peak, None, "GB", limit=1),
        Row("Llama-3-8B: capture + trace + plan (`auto`)", planned, None, "s", limit=3),
        Row("Llama-3-8B: peak memory of all that", planned_peak, None, "GB", limit=1.5),
    ]


def _understand_llama() -> None:
    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    start = time.perf_counter()
    captured = capture(lambda: LlamaForCausalLM(config))
    print(time.perf_counter() - start, _peak_bytes() / 1e9)
    plan(captured, "auto")
    print(time.perf_counter() - start, _peak_bytes() / 1e9)


def _peak_bytes() -> int:
    """Peak memory of this process. (`getrusage` would also count the parent's, from before the exec.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    if sys.argv[1:] == ["llama"]:
        _understand_llama()
    else:
        print(markdown(rows()))
