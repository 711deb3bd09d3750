"""A process that measures the types it reads from its standard input, one line of JSON each."""

from __future__ import annotations

import json
import logging
import os
import sys


def main() -> None:
    # What models print goes nowhere; answers have a channel of their own.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    logging.disable(logging.CRITICAL)

    import torch
    from measure import measured

    torch.set_num_threads(1)
    for line in sys.stdin:
        answers.write(json.dumps(measured(line.strip())) + "\n")


if __name__ == "__main__":
    main()
