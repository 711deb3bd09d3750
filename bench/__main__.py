"""`./dev bench`: what fanin promises on speed, measured now; `--write` puts it into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import platform
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import page
import torch
from convergence.options import options

Section = tuple[str, bool]
"""A part's tables as Markdown, and whether every figure reaches what it must."""


@dataclass(frozen=True, slots=True)
class Part:
    """One section of the page."""

    title: str
    measure: Callable[[bool, argparse.Namespace], Section]
    on_request: bool = False
    renew: Callable[[str], None] | None = None  # of a part that has a page of its own


def _rows(module: str) -> Callable[[bool, argparse.Namespace], Section]:
    def measure(plots: bool, arguments: argparse.Namespace) -> Section:
        from importlib import import_module

        from rows import markdown

        found = import_module(module).rows()
        return markdown(found), all(row.reached for row in found)

    return measure


def _auto(plots: bool, arguments: argparse.Namespace) -> Section:
    import auto_depth
    from rows import markdown

    found = auto_depth.rows(arguments.seeds) if arguments.seeds else auto_depth.rows()
    return markdown(found), all(row.reached for row in found)


def _fill(plots: bool, arguments: argparse.Namespace) -> Section:
    import fill

    found = fill.contests()
    picture = _picture("fill_by_size", found) if plots else ""
    return picture + fill.markdown(found), all(each.reached for each in found)


def _models(plots: bool, arguments: argparse.Namespace) -> Section:
    import constructors

    found = constructors.figures()
    picture = _picture("whole_models", found) if plots else ""
    return picture + constructors.markdown(found), all(each.reached for each in found)


def _threads(plots: bool, arguments: argparse.Namespace) -> Section:
    import threads

    return threads.markdown(threads.scalings()), True


def _ranks(plots: bool, arguments: argparse.Namespace) -> Section:
    import ranks

    found = ranks.figures()
    picture = _picture("by_ranks", found) if plots else ""
    return picture + ranks.markdown(found), True


def _disk(plots: bool, arguments: argparse.Namespace) -> Section:
    import stream_to_disk
    from rows import markdown

    found = stream_to_disk.rows(arguments.size)
    return markdown(found), all(row.reached for row in found)


def _dequantise(plots: bool, arguments: argparse.Namespace) -> Section:
    import dequantise

    found = dequantise.decoded()
    text = dequantise.markdown(found, dequantise.converted(), dequantise.filled())
    return text, all(each.reached for each in found)


def _device(plots: bool, arguments: argparse.Namespace) -> Section:
    import device

    return device.table(), True


def _counts(plots: bool, arguments: argparse.Namespace) -> Section:
    import counts

    return counts.section()


def _seeds(plots: bool, arguments: argparse.Namespace) -> Section:
    import seeds

    found = seeds.contests()
    return seeds.markdown(found), all(each.reached for each in found)


def _predictions(plots: bool, arguments: argparse.Namespace) -> Section:
    import predictions

    return predictions.section(arguments.seeds)


def _convergence(plots: bool, arguments: argparse.Namespace) -> Section:
    from convergence import command

    return command.section(arguments)


def _renew_convergence(text: str) -> None:
    from convergence import page as own

    own.renew(text)


def _picture(name: str, found: object) -> str:
    import plots

    return getattr(plots, name)(found) + "\n\n"


PARTS = {
    "fill": Part("Every initializer, against `torch.nn.init`, NumPy and JAX", _fill),
    "threads": Part("Threads, 64M elements", _threads),
    "drop-in": Part("`fanin.torch.init` against `torch.nn.init`", _rows("drop_in")),
    "models": Part("Whole models, against their own constructors and AnyInit", _models),
    "scale": Part("Many tensors, and very large models", _rows("whole_models")),
    "ranks": Part("Ranks: one FSDP2 model by 1 … 8 processes of one thread", _ranks),
    "disk": Part("Straight to the disk", _disk),
    "load": Part("Reading weights files", _rows("load")),
    "check": Part("`fanin.check` on GPT-2 small, against one plain forward and backward pass", _rows("check")),
    "data-driven": Part("`fanin.lsuv` against one evaluation pass, `lsuv` and AnyInit", _rows("data_driven")),
    "dequantise": Part("Quantised tensors to float32, against the package `gguf`, and conversions", _dequantise),
    "counts": Part("Multiply-accumulates, against torch's own counter and `torchinfo`", _counts),
    "seeds": Part("Training 16 seeds of a model, against a plain PyTorch loop over the seeds", _seeds),
    "device": Part("Accelerators", _device),
    "predictions": Part("Second moments that `check` predicts, beside those of fresh models", _predictions, True),
    "auto": Part("`auto` and `critical`: 50 layers without normalisation, worst layer against the first", _auto, True),
    "convergence": Part("Ten tasks from five starts", _convergence, True, _renew_convergence),
}


def machine() -> str:
    """The machine in one line, without its name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    threads = torch.get_num_threads()
    return (
        f"{cpu}, {threads} threads, torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"
    )


def _command(name: str) -> str:
    """What measures this part as it is being measured."""
    options = [word for word in sys.argv[1:] if word not in PARTS and word != "--write"]
    return shlex.join(["./dev", "bench", name, *options])


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    usual = [name for name, part in PARTS.items() if not part.on_request]
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=f"which; by default {', '.join(usual)}")
    parser.add_argument(
        "--seeds", type=int, help="networks per figure: auto and predictions 9, convergence 16 by default"
    )
    parser.add_argument("--size", choices=["2B", "8B"], default="2B", help="the model of disk: 4 or 16 GB")
    parser.add_argument("--write", action="store_true", help="put tables and plots into docs/benchmarks.md")
    options(parser)
    arguments = parser.parse_args()
    sections: dict[str, str] = {}
    reached = True
    for name in arguments.parts or usual:
        text, good = PARTS[name].measure(arguments.write, arguments)
        when = f"Measured {datetime.date.today()} by `{_command(name)}` on {machine()}."
        section = f"{when}\n\n{text}"
        if arguments.write and (renew := PARTS[name].renew) is not None:
            renew(section)
        elif PARTS[name].renew is None:
            sections[name] = f"## {PARTS[name].title}\n\n{section}"
        reached = reached and good
        print(f"\n## {PARTS[name].title}\n\n{section}", flush=True)
    if arguments.write and sections:
        page.renew(sections, list(PARTS))
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
