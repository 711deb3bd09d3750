"""Two ranks that check a model under `fully_shard`, half a batch each, say what one process says of it all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "fully_sharded_ranks.py"


def test_two_ranks_say_what_one_process_says(tmp_path: Path) -> None:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "--local-addr=127.0.0.1"]
    done = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ranks = sorted(answers, key=lambda answer: answer["rank"])
    assert [rank["together"] for rank in ranks] == [ranks[0]["together"]] * 2
    for rank in ranks:
        assert rank["kept"]
        assert rank["again"]
        assert rank["raised"].startswith(
            "the forward pass came through, but loss(output) failed: ValueError: not today"
        )
    for kind, said in {
        "batch": "the batch holds 512 non-finite values",
        "loss": "the forward pass came through",
    }.items():
        assert ranks[1]["lonely"][kind].startswith(f"DataError: {said}")
        assert ranks[0]["lonely"][kind].startswith(f"PlanError: rank 1 failed: DataError: {said}")
    together, alone = ranks[0]["together"], ranks[0]["alone"]
    assert together["verdict"] == alone["verdict"] == "healthy"
    assert together["notes"] == [
        "measured on the batches of 2 ranks together; quantiles and histograms are the first rank's"
    ]
    assert together["loss"] == pytest.approx(alone["loss"], rel=1e-6)
    for name, (second, count, expected) in alone["layers"].items():
        assert together["layers"][name][:2] == [pytest.approx(second, rel=1e-6), count]
        assert together["layers"][name][2] == pytest.approx(expected, rel=0.05)
    # Two halves' mean losses average to the whole's, and so do the gradients that FSDP2 averages.
    for name, (std, pull, shape) in alone["parameters"].items():
        assert together["parameters"][name] == [pytest.approx(std, rel=1e-6), pytest.approx(pull, rel=1e-4), shape]
