"""The command `fanin`: one small file per verb over the public names."""

from fanin.cli.app import main, run

__all__ = ["main", "run"]
