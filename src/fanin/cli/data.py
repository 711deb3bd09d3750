"""`fanin data`: the sets that a model can be tried on."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

import fanin
from fanin.cli.options import FILE
from fanin.cli.printing import json_option, progress, show, tell
from fanin.cli.verb import verb


def _sets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in fanin.data.names() if name.startswith(incomplete)]


@verb
@click.argument("spec", required=False, metavar="[SET]", shell_complete=_sets)
@click.option("--png", type=FILE, help="Also write samples as a picture.")
@json_option
def command(spec: str | None, png: Path | None, as_json: bool) -> None:
    """List the data sets; with SET, read it and show its shapes, classes, split, source and first samples.

    SET is a name, then options: fashion-mnist,train=5000,size=14. Nothing is downloaded.
    """
    from fanin.report.data_pictures import save_samples
    from fanin.report.data_sets import dataset_data, dataset_report, sets_data, sets_report

    if spec is None:
        if png is not None:
            raise click.UsageError("--png shows samples of one set: name it")
        sets = [fanin.data.known(name) for name in fanin.data.names()]
        show(as_json, lambda: sets_data(sets), lambda width: sets_report(sets, width))
        return
    options = fanin.data.known(spec.split(",")[0]).options
    with progress("reading") as advance:
        data = fanin.data.load(spec, advance)
    show(as_json, lambda: dataset_data(data, options), lambda width: dataset_report(data, options, width))
    if png is not None:
        tell(f"wrote {save_samples(data, png)}")
