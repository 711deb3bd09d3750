"""Whole models: capture + materialize against the constructor, and an 8B model understood without memory."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch
from rows import Row, best_seconds, markdown
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from fanin.random import default_threads
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize
from fanin.torch.planning import plan

ROUNDS = 10


def rows() -> list[Row]:
    """Every figure of this bench, measured now; takes about a minute."""
    return [*_gpt2(), *_llama()]


def _gpt2() -> list[Row]:
    def build() -> torch.nn.Module:
        return GPT2LMHeadModel(GPT2Config())

    def planned() -> torch.nn.Module:
        captured = capture(build)
        return materialize(captured.model, captured.plan)

    materialize(*_small())  # compiles the kernels
    torch.set_num_threads(default_threads())
    theirs, ours, alone = best_seconds([build, planned, partial(capture, build)], ROUNDS)
    return [
        Row("GPT-2 (124M): capture + materialize", ours, theirs, "s", target=8),
        Row("GPT-2 (124M): capture alone", alone, theirs, "s"),
    ]


def _small() -> tuple[torch.nn.Module, object]:
    captured = capture(lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=60_000)))
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
