"""Elementary functions against 40 decimal digits, and their bits without the CPU's vector instructions."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal, localcontext
from math import log, sqrt

import numpy as np
import pytest

from fanin.initializers import Mapped, Uniform, elementary

RNG = np.random.default_rng(0)
NEAR_ZERO = RNG.uniform(-1, 1, 500) * np.exp(RNG.uniform(-30, 1, 500))
CASES = [
    ("log", np.exp(RNG.uniform(-30, 30, 500)), lambda x: x.ln()),
    ("log", 1 + RNG.uniform(-1e-3, 1e-3, 500), lambda x: x.ln()),
    ("exp", RNG.uniform(-30, 30, 500), lambda x: x.exp()),
    ("expm1", NEAR_ZERO, lambda x: x.exp() - 1),
    ("expm1", RNG.uniform(-3, 3, 500), lambda x: x.exp() - 1),
    ("inverse_softplus", np.exp(RNG.uniform(-9, -1, 500)), lambda y: (y.exp() - 1).ln()),
    ("inverse_softplus", RNG.uniform(1, 30, 500), lambda y: (y.exp() - 1).ln()),
]


def ulps(seen, exact):
    return max(abs(float((Decimal(float(a)) - b) / b)) / 2.0**-52 for a, b in zip(seen, exact, strict=True))


@pytest.mark.parametrize(("name", "x", "function"), CASES)
def test_a_few_units_in_the_last_place(name, x, function):
    with localcontext(prec=50):
        exact = [function(Decimal(float(each))) for each in x]
        assert ulps(getattr(elementary, name)(x), exact) < 5


@pytest.mark.parametrize("exponent", [0.3, 0.7, 1.35, 2.0])
def test_powers(exponent):
    x = RNG.uniform(0, 1, 500)
    with localcontext(prec=50):
        exact = [Decimal(float(each)) ** Decimal(exponent) for each in x]
        assert ulps(elementary.power(x, exponent), exact) < 10
    np.testing.assert_array_equal(elementary.power(np.array([0.0, 1.0]), exponent), [0, 1])


def test_whole_exponents_are_exact():
    x = np.array([0.0, 0.3, 1.0])
    np.testing.assert_array_equal(elementary.power(x, 1.0), x)
    np.testing.assert_array_equal(elementary.power(x, 0.0), [1, 1, 1])


@pytest.mark.parametrize("low", [1e-6, 0.5, 1.0])
def test_moments_of_a_mapped_law_are_those_of_the_closed_form(low):
    mean, std = Mapped(Uniform(low, 2.0), ("log",)).moments((3,))
    width, a, b = 2.0 - low, log(low), log(2.0)
    exact = (2 * b - low * a) / width - 1
    square = (2 * b * b - low * a * a) / width - 2 * exact
    assert (mean, std) == pytest.approx((exact, sqrt(square - exact**2)), rel=1e-9)
    assert Mapped(Uniform(low, low), ("log",)).moments((3,)) == pytest.approx((a, 0.0), abs=1e-12)


PROGRAM = """
from hashlib import blake2b
import numpy as np
from fanin.initializers import Cycle, Mapped, Ramp, Uniform
from fanin.random import Region, Stream
for law in (
    Ramp(-5.0, 3.0, 1.35),
    Cycle((-1.2, 0.3)),
    Mapped(Ramp(1.0, 201.0), ("log",)),
    Mapped(Uniform(-6.9, -2.3), ("exp", "inverse_softplus")),
):
    for dtype in ("float32", "float64"):
        out = np.empty((150, 201), dtype)
        law.fill(out, Stream.named(7, "golden"), Region.whole(out.shape))
        print(type(law).__name__, blake2b(out.tobytes(), digest_size=8).hexdigest())
"""
GOLDEN = [
    "Ramp",
    "850b6639feae0f3b",
    "Ramp",
    "b49bd64d3795fd67",
    "Cycle",
    "0dfbd3cf16b5a507",
    "Cycle",
    "0afc32d3c6abfb7f",
    "Mapped",
    "7389b2c955b220c5",
    "Mapped",
    "b262b25ca70238cc",
    "Mapped",
    "34df742b397e6370",
    "Mapped",
    "81f1721af14128e5",
]


@pytest.mark.parametrize("cpu", ["plain", "native"])
def test_golden_bits_on_every_cpu(cpu):
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    able = " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name))
    plain = {"NPY_DISABLE_CPU_FEATURES": able, "NUMBA_CPU_NAME": "generic"}
    environment = os.environ | (plain if cpu == "plain" else {})
    ran = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == GOLDEN
