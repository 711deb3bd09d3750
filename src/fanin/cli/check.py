"""`fanin check`: whether the signal survives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example, needed
from fanin.cli.failing import exit_code, fail_on_option
from fanin.cli.printing import json_option, markdown_option, print_text, progress, show
from fanin.cli.report_files import ReportFiles, report_files, summary_option
from fanin.cli.verb import BadInput, verb

if TYPE_CHECKING:
    from torch import Tensor, nn

SAMPLES, SEQUENCES = 100, 8


@verb
@options.model
@options.recipe()
@options.seed
@click.option("--weights", type=options.FILE, help="Check the weights in this file instead of drawing them.")
@click.option(
    "--data",
    "--inputs",
    "data",
    metavar="WHAT",
    help="mnist: real digits with their labels; random; or a .npy file of inputs. "
    "By default mnist for mnist-fc and mnist-cnn, else random.",
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    metavar="N",
    help=f"Samples in a batch; by default {SAMPLES}, or {SEQUENCES} where a sample is a sequence of tokens (hf:TYPE).",
)
@options.input_shape
@click.option("--lr", type=float, metavar="RATE", help="Judge Adam's first step at this learning rate, too.")
@click.option(
    "--thorough",
    is_flag=True,
    help="Also Jacobians' singular values and precision in bfloat16, in more passes; --json and --html show them.",
)
@fail_on_option
@report_files
@summary_option
@json_option
@markdown_option
def command(
    model: str,
    recipe: str,
    seed: int,
    weights: Path | None,
    data: str | None,
    batch: int | None,
    sample: tuple[int, ...] | None,
    lr: float | None,
    thorough: bool,
    fail_on: str,
    files: ReportFiles,
    as_summary: bool,
    as_json: bool,
    as_markdown: bool,
) -> int:
    """Run one batch through MODEL, forward and backward, and compare each layer with what theory expects.

    Exit code 0 if all is well, 1 if there is a finding as grave as --fail-on says, 2 if the input cannot be used.
    """
    from fanin.report.checks import check_report

    if as_json + as_markdown + as_summary > 1:
        raise BadInput("--json, --markdown and --summary exclude each other: give one of them")
    with progress(f"Checking {model}"):
        inputs, loss = batch_of(model, data, batch or usual_batch(model), sample)
        made, plan = weighted(model, recipe, seed, weights, inputs)
        report = fanin.check(made, inputs, loss, plan=plan, thorough=thorough, lr=lr, seed=seed)
    files.write(report)
    if as_summary or as_markdown:
        print_text(report.summary() if as_summary else report.to_markdown())
    else:
        show(as_json, report.to_dict, lambda width: check_report(report, width, model))
    return exit_code(report.findings, fail_on)


def weighted(
    model: str, recipe: str, seed: int, weights: Path | None, inputs: Any
) -> tuple[nn.Module, fanin.Plan | None]:
    """The model with drawn weights and the plan that drew them, or with the weights of a file."""
    made = captured(model)
    if weights is None:
        plan = fanin.plan(made, recipe, inputs)
        return fanin.materialize(made.model, plan, seed=seed), plan
    # What a file does not hold (tables that the model computes) is what the model's own code makes.
    fanin.load(made, weights, inputs=inputs, seed=seed, strict=True, nonfinite="allow")
    return made.model, None


def usual_batch(model: str) -> int:
    """A batch that is enough to measure, in seconds.

    >>> usual_batch("mnist-cnn"), usual_batch("hf:gpt2")
    (100, 8)
    """
    return SEQUENCES if model.startswith("hf:") or model.endswith(".json") else SAMPLES


def batch_of(model: str, data: str | None, batch: int, sample: tuple[int, ...] | None) -> tuple[Any, Any]:
    """The batch, and the loss where labels tell one."""
    chosen = data or ("mnist" if model.startswith("mnist-") else "random")
    if chosen == "mnist":
        from fanin.data import mnist
        from fanin.demo.digits import digit_batch

        return digit_batch(mnist().train, batch)
    if chosen == "random":
        return needed(model, example(model, sample, batch)), None
    return from_file(Path(chosen)), None


def from_file(path: Path) -> Tensor:
    """The array that a .npy file holds; numpy's own float64 as float32, which models are made of."""
    import numpy as np
    import torch

    try:
        batch = torch.from_numpy(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError, TypeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"{path} cannot be read as a batch (mnist, random or a .npy file): {reason}") from error
    return batch.float() if batch.dtype == torch.float64 else batch
