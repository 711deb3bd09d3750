"""The same bits on every CPU, for every number of threads, today and tomorrow."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

from fanin.initializers import Orthogonal, RowNormalized, Sparse
from fanin.random import Region, Stream

GOLDEN = {
    ("Orthogonal", "float32"): "83a486d06306b1e7",
    ("Orthogonal", "float64"): "cb692d67069361eb",
    ("Sparse", "float32"): "de13f50c9b1b69f7",
    ("Sparse", "float64"): "6428ca4ad7c5434c",
    ("RowNormalized", "float32"): "ef6cb3c6b60768e5",
    ("RowNormalized", "float64"): "e849714116b0036b",
}
PROGRAM = """
import sys
from hashlib import blake2b
import numpy as np
from fanin.initializers import Orthogonal, RowNormalized, Sparse
from fanin.random import Region, Stream
shape = (150, 201)
for law in (Orthogonal(), Sparse(0.3), RowNormalized()):
    for dtype in ("float32", "float64"):
        out = np.empty(shape, dtype)
        law.fill(out, Stream.named(7, "golden"), Region.whole(shape))
        print(type(law).__name__, dtype, blake2b(out.tobytes(), digest_size=8).hexdigest())
"""


@pytest.mark.parametrize("cpu", ["generic", "haswell", "native"])
def test_golden_bits_on_every_cpu(cpu):
    environment = os.environ | ({} if cpu == "native" else {"NUMBA_CPU_NAME": cpu})
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    seen = {(law, dtype): digest for law, dtype, digest in map(str.split, ran.stdout.splitlines())}
    assert seen == GOLDEN


@pytest.mark.parametrize("law", [Orthogonal(), Sparse(0.3), RowNormalized()], ids=lambda law: law.describe())
@pytest.mark.parametrize("shape", [(520, 470), (460, 530)])
def test_bits_do_not_depend_on_the_number_of_threads(law, shape):
    digests = set()
    for threads in range(1, 9):
        out = np.empty(shape, np.float32)
        law.fill(out, Stream.named(0, "w"), Region.whole(shape), threads=threads)
        digests.add(blake2b(out.tobytes(), digest_size=16).hexdigest())
    assert len(digests) == 1
