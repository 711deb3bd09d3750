"""What importing costs, and compiling where nothing can be kept."""

from __future__ import annotations

import subprocess
import sys

from fanin.random.kernels.decorators import kernel


def test_numba_is_loaded_at_the_first_draw_only():
    script = "import sys, fanin.random; sys.exit('numba' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_kernels_compile_without_a_place_for_the_cache():
    names: dict = {}
    exec(compile("def double(x):\n    return 2 * x\n", "<nowhere>", "exec"), names)
    assert kernel(names["double"])(21) == 42
