"""Stream version 1, bit for bit. A change here is a new STREAM_VERSION."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanin.random import STREAM_VERSION

GOLDEN = {
    "uniform float32": "b15003a6a8ed2377",
    "uniform float64": "8fca117e1235cb74",
    "uniform float16": "9e711a3488fa2c74",
    "uniform uint16": "a7c87fcbcd49939b",
    "normal float32": "5214e0243b9b35b4",
    "normal float64": "c00aa7f4d13c64c0",
    "normal float16": "924ff69efbae55bd",
    "normal uint16": "4b8237ba9852728b",
    "truncated float32": "b7885c980fedf79c",
    "truncated float64": "add7ce11e1ec7193",
    "truncated float16": "af2ee632ce01ce07",
    "truncated uint16": "f7a2dd4f89bc861e",
    "truncated tail float32": "7eb1eefbf7ff4582",
    "truncated tail float64": "8f9c12a47f9c2e7b",
    "truncated tail float16": "7ad7b31dd14a6f16",
    "truncated tail uint16": "3e65a7f16d28be54",
    "truncated far float64": "5f653aa8f87f3a82",
    "words uint32": "e49923952f75b97b",
}


def test_golden_hashes_belong_to_this_stream_version(cases):
    assert STREAM_VERSION == 1
    assert set(GOLDEN) == set(cases.CASES)


@pytest.mark.parametrize("case", GOLDEN)
def test_bits_are_those_of_stream_version_1(case, cases):
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
