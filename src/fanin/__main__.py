"""`python -m fanin`: the command."""

from fanin.cli import main

main()
