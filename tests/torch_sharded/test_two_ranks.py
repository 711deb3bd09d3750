"""FSDP2 trains on two real gloo processes after materialize, as the plain model does; draws agree between ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_training_and_draws_on_two_ranks(tmp_path):
    script = Path(__file__).with_name("two_ranks.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, "-W", "error", str(script), str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=240)[0] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], "\n".join(told)
