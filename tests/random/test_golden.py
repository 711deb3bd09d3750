"""Stream version 2, bit for bit. A change here is a new STREAM_VERSION."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanin.random import STREAM_VERSION

GOLDEN = {
    "uniform float32": "8aa1c1715e566464",
    "uniform float64": "6ed656faa5e2706c",
    "uniform float16": "92980c48e24fdf94",
    "uniform uint16": "97c5f87ab698af39",
    "normal float32": "e32329af2e0cbbd9",
    "normal float64": "a905256917b99e35",
    "normal float16": "df610e3acbe36edb",
    "normal uint16": "ba85735509346793",
    "truncated float32": "612470ab4aea769e",
    "truncated float64": "3bd21a320db8cc96",
    "truncated float16": "b37144cb57605db3",
    "truncated uint16": "31b4319a505ff727",
    "truncated tail float32": "d88dc3850d60a187",
    "truncated tail float64": "15cc225bbf32ec75",
    "truncated tail float16": "426ace38737d8ddf",
    "truncated tail uint16": "ddb7695c8c888c4d",
    "truncated wide float32": "98e2bb91b0af3101",
    "truncated far float64": "69bf7d1330ca5fa8",
    "words uint32": "4e6c8aa09dff437a",
}


def test_golden_hashes_belong_to_this_stream_version(cases):
    assert STREAM_VERSION == 2
    assert set(GOLDEN) == set(cases.CASES)


@pytest.mark.parametrize("case", GOLDEN)
def test_bits_are_those_of_stream_version_2(case, cases):
    assert cases.hash_of(case) == GOLDEN[case]


def test_bits_do_not_depend_on_the_cpu_compiled_for(tmp_path):
    """Without NUMBA_CPU_FEATURES Numba would add the real CPU's features to the named one's."""
    runs = [_hashes_on(cpu, tmp_path / cpu) for cpu in ("generic", "haswell")]
    for run in runs:
        output, errors = run.communicate(timeout=300)
        assert run.returncode == 0, errors
        assert json.loads(output) == GOLDEN


def _hashes_on(cpu: str, cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(cache)}
    script = Path(__file__).with_name("cases.py")
    return subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
