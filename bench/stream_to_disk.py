"""A checkpoint straight to the disk, against zeros written in the same way and against a copy of the files."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from memory import peak_bytes, peak_reset
from rows import Row, markdown
from transformers import LlamaConfig, LlamaForCausalLM

import fanin
from fanin.checkpoints.layout import Layout, layout_of
from fanin.checkpoints.pool import fill_targets
from fanin.checkpoints.targets import NewFile
from fanin.plans import Plan
from fanin.random import default_threads

LAYERS = {"2B": 4, "8B": 32}  # of Llama-3-8B's size, with its whole vocabulary
DTYPE, SHARD = "bf16", "5GB"


@dataclass(frozen=True, slots=True)
class Streamed:
    """Seconds of each round, side by side, and what they moved.

    Attributes:
        bytes: of the checkpoint.
        written: `fanin.write`; zeros: the same files, slabs, offsets, threads and flushes.
        copied: `shutil.copyfile` of the files, flushed; one round.
        peak: bytes of memory that `fanin.write` took beyond what the process held before.
    """

    bytes: int
    written: tuple[float, ...]
    zeros: tuple[float, ...]
    copied: float
    peak: int

    @property
    def of_zeros(self) -> float:
        """The speed of writing as a share of that of zeros: the median over rounds."""
        return median(zero / own for zero, own in zip(self.zeros, self.written, strict=True))


class Zeros:
    """A source of zeros."""

    def read(self, out: torch.Tensor, first: int) -> None:
        """Write them: memory that nobody has written is one page, many times over."""
        out.zero_()


def measure(size: str = "2B", rounds: int = 3, place: Path | None = None) -> Streamed:
    """Write zeros and the checkpoint in turns, `rounds` times; all files are removed again.

    Args:
        size: "2B" (4 GB) or "8B" (16 GB).
        rounds: how often.
        place: a folder on the disk to be measured, by default the one for temporary files.
    """
    plan = plan_of(LAYERS[size])
    layout = layout_of(plan, 0, DTYPE, SHARD)
    with tempfile.TemporaryDirectory(prefix="fanin-bench-", dir=place) as name:
        folder = Path(name)
        need, free = 2.1 * layout.data_bytes, shutil.disk_usage(folder).free
        if free < need:
            raise SystemExit(f"needs {need / 1e9:.0f} GB on the disk of {folder.parent}, {free / 1e9:.0f} are free")
        fanin.write(plan_of(0), folder / "warm", dtype=DTYPE)  # compiles the kernels
        shutil.rmtree(folder / "warm")
        zeros, written, peak, copied = list[float](), list[float](), 0, 0.0
        for number in range(rounds):
            with removed(folder / "zeros") as target:
                zeros.append(seconds(lambda target=target: write_zeros(layout, target)))
            with removed(folder / "written") as target:
                peak_reset()
                before = peak_bytes()
                written.append(
                    seconds(lambda target=target: fanin.write(plan, target, dtype=DTYPE, max_shard_size=SHARD))
                )
                peak = max(peak, peak_bytes() - before)
                if number == rounds - 1:
                    copied = seconds(lambda target=target: copy(target, folder / "copied"))
    return Streamed(layout.data_bytes, tuple(written), tuple(zeros), copied, peak)


def rows(size: str = "2B", rounds: int = 3) -> list[Row]:
    """The figures as rows of a table."""
    found = measure(size, rounds)
    best = min(range(rounds), key=lambda number: found.written[number])
    speed = found.bytes / found.written[best] / 1e9
    name = f"Llama {size}, bf16, {found.bytes / 1e9:.1f} GB to the disk"
    return [
        Row(f"{name}, against zeros", speed, speed / found.of_zeros, "GB/s", target=0.8),
        Row(f"{name}, against a copy of the files", speed, found.bytes / found.copied / 1e9, "GB/s"),
        Row(f"{name}: memory beyond the process's own", found.peak / 1e9, None, "GB", limit=1),
    ]


def plan_of(layers: int) -> Plan:
    """Llama-3-8B's plan with that many layers; with none a small one."""
    sizes = {"hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 128256} if layers else {"hidden_size": 64}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8} if layers else {}
    config = LlamaConfig(num_hidden_layers=layers or 1, **sizes, **heads)
    return fanin.capture(lambda: LlamaForCausalLM(config)).plan


def write_zeros(layout: Layout, folder: Path) -> None:
    """The files of a checkpoint by the same threads, in the same slabs, with nothing drawn."""
    folder.mkdir()
    jobs = [(shard, NewFile(folder / shard.filename, shard.size)) for shard in layout.shards]
    fill_targets(jobs, lambda _: Zeros(), default_threads(), lambda _: None)


def copy(source: Path, target: Path) -> None:
    """Copy all files and flush them."""
    with removed(target):
        target.mkdir()
        for path in sorted(source.iterdir()):
            shutil.copyfile(path, target / path.name)
            with (target / path.name).open("rb+") as file:
                os.fsync(file.fileno())


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


@contextmanager
def removed(folder: Path) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", nargs="?", choices=[*LAYERS], default="2B")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    print(markdown(rows(chosen.size, chosen.rounds)))
