"""Audits of models over two processes: shards added up, replicas compared, the same report on both ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("scene", "grave"),
    [
        ("healthy", []),
        ("same_shards", [["ranks", "2.weight"]]),
        ("other_replicas", [["replicas", "2.weight"]]),
        ("other_copies", [["replicas", "2.weight"]]),
        ("damage_elsewhere", [["non-finite", "2.weight"]]),
        ("twins_elsewhere", [["twins", "2.weight"]]),
    ],
)
def test_scenes(answers: dict[str, Any], scene: str, grave: list[list[str]]) -> None:
    first, second = answers[scene]
    assert first["grave"] == grave, first["findings"]
    assert first == second


def test_shards_are_added_up(answers: dict[str, Any]) -> None:
    found = answers["healthy"][0]
    assert found["shape"] == [128, 128]
    assert found["std"] == pytest.approx(0.125, rel=5 / (2 * 128 * 128) ** 0.5)
