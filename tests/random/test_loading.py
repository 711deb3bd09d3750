"""What importing costs, and machine code on disk: absent, damaged, in the making, or nowhere to be kept."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from fanin.random import Region, Stream, uniform, words
from fanin.random.kernels.decorators import kernel

DRAW = """
import sys
import numpy as np
from fanin.random import Region, Stream, uniform, words
place = Stream(5), Region.whole((70,))
for law in sys.argv[1:]:
    out = np.empty(70, np.uint32 if law == "words" else np.float32)
    words(out, *place) if law == "words" else uniform(out, *place, 0.0, 1.0)
    print(out.tobytes().hex())
"""


def start(cache, *laws):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-W", "error", "-c", DRAW, *laws]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def drawn(process):
    out, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (0, "")
    return out.split()


def expected(*laws):
    place = Stream(5), Region.whole((70,))
    values = {"words": np.empty(70, np.uint32), "uniform": np.empty(70, np.float32)}
    words(values["words"], *place)
    uniform(values["uniform"], *place, 0.0, 1.0)
    return [values[law].tobytes().hex() for law in laws]


def test_numba_is_loaded_at_the_first_draw_only():
    script = "import sys, fanin.random; sys.exit('numba' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_kernels_compile_without_a_place_for_the_cache():
    names: dict = {}
    exec(compile("def double(x):\n    return 2 * x\n", "<nowhere>", "exec"), names)
    assert kernel(names["double"])(21) == 42


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache that four processes have filled at once, two of them with other kernels first."""
    cache = tmp_path_factory.mktemp("cache")
    orders = [("words", "uniform"), ("uniform", "words"), ("words",), ("uniform",)]
    for process, order in zip([start(cache, *order) for order in orders], orders, strict=True):
        assert drawn(process) == expected(*order)
    return cache


def code(cache):
    return sorted(cache.rglob("*.nbc"))


def test_processes_may_fill_a_cache_at_once(filled):
    assert len(code(filled)) == 2
    assert not [path for path in filled.rglob("*") if path.is_file() and path.suffix != ".nbc"]


def test_what_is_kept_is_not_compiled_again(filled):
    before = [(path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in code(filled)]
    assert drawn(start(filled, "words", "uniform")) == expected("words", "uniform")
    assert [(path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in code(filled)] == before


def flip(content):
    """Still a pickle, but machine code with other instructions."""
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0x55 for byte in content[middle : middle + 64]) + content[middle + 64 :]


def test_damaged_code_is_compiled_again(filled):
    first, second = code(filled)
    whole = len(first.read_bytes()), len(second.read_bytes())
    damages = [
        lambda one, two: (one[: len(one) // 2], one),  # the second is of another kernel
        lambda one, two: (bytes(range(256)) * 99, flip(two)),
    ]
    for damage in damages:
        for path, content in zip((first, second), damage(first.read_bytes(), second.read_bytes()), strict=True):
            path.write_bytes(content)
        assert drawn(start(filled, "words", "uniform")) == expected("words", "uniform")
    assert code(filled) == [first, second]
    assert (len(first.read_bytes()), len(second.read_bytes())) == pytest.approx(whole, rel=0.01)


@pytest.mark.skipif(os.name != "posix", reason="needs a path that is no folder")
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert drawn(start(blocked / "cache", "words")) == expected("words")
    assert blocked.read_text() == ""


def test_what_cannot_be_kept_is_still_returned(tmp_path, monkeypatch):
    @kernel
    def double(x):
        return 2 * x

    monkeypatch.setattr(double._cache._cache_file, "_cache_path", str(tmp_path / "gone"))
    assert double(21) == 42
    assert not list(tmp_path.iterdir())
