"""`fanin completion`: the shell's own completion, from click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fanin.cli.verb import verb


@verb
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: echo 'eval "$(fanin completion bash)"' >> ~/.bashrc
    zsh:  echo 'eval "$(fanin completion zsh)"' >> ~/.zshrc
    fish: fanin completion fish > ~/.config/fish/completions/fanin.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this click has no completion for {shell}")
    group = click.get_current_context().find_root().command
    click.echo(kind(group, {}, "fanin", "_FANIN_COMPLETE").source())
