"""`fanin audit`: what is wrong with stored values, or with a plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.failing import exit_code, fail_on_option
from fanin.cli.printing import json_option, markdown_option, print_text, progress, show
from fanin.cli.report_files import ReportFiles, report_files, summary_option
from fanin.cli.verb import BadInput, verb

_CODE = (".py", ".json")


@verb
@options.model
@options.recipe()
@options.seed
@click.option(
    "--plan", "plan_file", type=options.FILE, help="Hold the values against this plan, as `fanin plan -o` wrote it."
)
@click.option("--weights", type=options.FILE, help="Audit MODEL with the values of this file, not its plan.")
@click.option("--drawn", is_flag=True, help="Draw MODEL's values by the recipe and audit them, not only the plan.")
@click.option("--reference", type=click.Path(path_type=Path), help="Weights that must still be there, bit for bit.")
@fail_on_option
@options.input_shape
@report_files
@summary_option
@json_option
@markdown_option
def command(
    model: str,
    recipe: str,
    seed: int,
    plan_file: Path | None,
    weights: Path | None,
    drawn: bool,
    reference: Path | None,
    fail_on: str,
    sample: tuple[int, ...] | None,
    files: ReportFiles,
    as_summary: bool,
    as_json: bool,
    as_markdown: bool,
) -> int:
    """Read every stored value of MODEL once, and say what is damaged, repeated, misplaced or of the wrong size.

    MODEL is a weights file, an index or a folder of them, read one tensor at a time; or a model: then its plan is
    audited before anything is drawn, or with --weights the values of a file in it. No forward pass is run.
    """
    from fanin.report.audits import audit_report

    require_fitting(model, weights, drawn, reference)
    plan = None if plan_file is None else read_plan(plan_file)
    with progress(f"Auditing {model}") as moved:
        if is_weights(model):
            report = fanin.audit(Path(model), plan, reference=reference, progress=moved)
        else:
            inputs: Any = example(model, sample)
            made = captured(model)
            if weights is not None:
                fanin.load(made, weights, inputs=inputs, seed=seed, strict=True, nonfinite="allow", lock=False)
                report = fanin.audit(made.model, plan, inputs=inputs, reference=reference, progress=moved)
            elif drawn:
                plan = plan or fanin.plan(made, recipe, inputs)
                fanin.materialize(made.model, plan, seed=seed)
                report = fanin.audit(made.model, plan, inputs=inputs, reference=reference, progress=moved)
            else:
                plan = plan or (None if recipe == "native" else fanin.plan(made, recipe, inputs))
                report = fanin.audit(made, plan, inputs=inputs)
    files.write(report)
    if as_summary or as_markdown:
        print_text(report.summary() if as_summary else report.to_markdown())
    else:
        show(as_json, report.to_dict, lambda width: audit_report(report, model))
    return exit_code(report.findings, fail_on)


def require_fitting(model: str, weights: Path | None, drawn: bool, reference: Path | None) -> None:
    """Raise `BadInput` for options that would be ignored."""
    if weights is not None and drawn:
        raise BadInput("--weights and --drawn exclude each other: values are read from a file or drawn")
    if is_weights(model) and (weights is not None or drawn):
        raise BadInput(f"{model} holds weights already: --weights and --drawn go with a model")
    if reference is not None and not is_weights(model) and weights is None and not drawn:
        raise BadInput(f"--reference is compared with values, and {model} has only a plan: give --weights or --drawn")


def is_weights(model: str) -> bool:
    """Whether a name is that of weights: a folder, or a file that is neither code nor a config.

    >>> is_weights("hf:gpt2"), is_weights("model.safetensors.index.json")
    (False, True)
    """
    path = Path(model)
    if path.name.endswith(".index.json"):
        return True
    if path.suffix.lower() in _CODE or ":" in model:
        return path.is_dir()
    return path.suffix != "" or path.exists()


def read_plan(path: Path) -> fanin.Plan:
    """The plan that a file holds.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        return fanin.Plan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as a plan: {getattr(error, 'strerror', None) or error}") from error
