"""The command's frame: its verbs, loaded only when used, and what ends it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

import fanin
from fanin.cli.verb import INTERRUPTED, BadInput

# Each verb is the `command` of the file of that name here; the sentence stands here so that help imports none of them.
VERBS = {
    "plan": "Say where every parameter's values come from, and why.",
    "init": "Draw a model's weights and write them to a file.",
    "load": "Put existing weights into a model, and account for every tensor.",
    "convert": "Convert weights between safetensors, GGUF and .pt.",
    "audit": "Read every stored value once and say which tensor is damaged, repeated or of the wrong size.",
    "check": "Show whether the signal survives, layer by layer, forward and backward.",
    "coord-check": "Train a few steps at several widths or depths, and see whether layers learn as much.",
    "activation": "Say what an activation does to signals through depth, and which weights keep them.",
    "count": "Count parameters, bytes and operations.",
    "draw": "Draw an architecture: layers, shapes, roles, parameters, residual connections.",
    "data": "List the data sets, or show one: shapes, classes, split, first samples.",
    "models": "List the built-in models, or show the options of one family.",
    "recipes": "List the recipes, or show one rule by rule.",
    "weights": "List what a weights file holds: tensors, types, bytes, metadata, statistics.",
    "compare": "Race recipes: the same model and real data, several seeds; which start is best?",
    "demo": "The whole way on real digits: count, plan, draw, check, write, race.",
    "completion": "Print the completion script for bash, zsh or fish.",
}


class Verbs(click.Group):
    """A group whose verbs are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in VERBS:
            return import_module(f"fanin.cli.{cmd_name.replace('-', '_')}").command
        if not ctx.resilient_parsing:  # a shell that completes must not be told
            raise BadInput(str(fanin.UnknownNameError.among("verb", cmd_name, VERBS)))
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]}, subcommand_metavar="VERB [ARGS]...")
@click.version_option(fanin.__version__, "-V", "--version", message="fanin %(version)s")
def verbs() -> None:
    """Every number in the model, accounted for before step one.

    \b
    A MODEL is named as
      mnist-fc, resnet18, vit-b, …     a built-in model of that name
      resnet:depth=20,norm=none        a family with options: `fanin models` lists them
      mlp:784-500-10                   a dense network of these widths
      cnn:1x28x28-8-16-10              a convolutional one: image, channels, classes
      path.py:function                 what your own function returns
      package.module:function          the same, imported
      hf:TYPE, config.json             a transformers architecture, without weights

    Exit codes: 0 fine, 1 findings, 2 bad input.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command on `arguments` (by default the process's own) and return its exit code.

    >>> run(["--version"])
    fanin 0...
    0
    """
    try:
        return verbs.main(arguments, prog_name="fanin", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return INTERRUPTED


def main() -> None:
    """The entry point of the script `fanin`."""
    code = run()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (head, less) has seen enough: the interpreter's own flush at exit must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
