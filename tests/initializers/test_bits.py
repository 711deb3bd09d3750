"""The same bits on every CPU, for every number of threads, today and tomorrow."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pytest

from fanin.initializers import DeltaOrthogonal, Mirrored, Orthogonal, RowNormalized, Sparse
from fanin.random import Region, Stream

GOLDEN = {
    ("Orthogonal", "float32"): "10f97214ef44dd8e",
    ("Orthogonal", "float64"): "114d9a6983939237",
    ("Sparse", "float32"): "f6dc16f1dc8546dd",
    ("Sparse", "float64"): "56ef6642fb0ab324",
    ("RowNormalized", "float32"): "aea1e9f39850b6f6",
    ("RowNormalized", "float64"): "517edd0f85cf10c2",
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


@pytest.mark.parametrize(
    ("law", "shape", "dtype", "digest"),
    [
        (Orthogonal(-1.5), (700, 420), "float32", "614e6f41dae47d61"),
        (Orthogonal(-1.5), (420, 700), "uint16", "ac039dbe7326df2f"),
        (Orthogonal(groups=2), (840, 420), "float32", "571ef199ed8924b8"),
        (Orthogonal(2.0, rows=(2,), batch=(0,)), (3, 30, 70), "float32", "de5ef5cefce96dc7"),
        (DeltaOrthogonal(2.0, groups=2), (8, 4, 3, 3), "float64", "4f34a4c498df5cd4"),
        (Mirrored(Orthogonal(), (0, 1)), (40, 60), "uint16", "0736044dc944ceaa"),
        (Sparse(0.5, rows=(2,), batch=(0,)), (3, 20, 30, 2), "float16", "c4f04c5d246bbd6a"),
    ],
    ids=lambda value: value.describe() if hasattr(value, "describe") else None,
)
def test_golden_bits_of_stacks_and_large_matrices(law, shape, dtype, digest):
    out = np.empty(shape, dtype)
    law.fill(out, Stream.named(7, "golden"), Region.whole(shape))
    assert blake2b(out.tobytes(), digest_size=8).hexdigest() == digest
