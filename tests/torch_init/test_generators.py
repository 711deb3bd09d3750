"""One 64-bit draw per call, from the generator given or the default one, decides every bit."""

import pytest
import torch

import fanin.torch.init as init
from fanin.axes import Axes
from fanin.initializers import Normal
from fanin.random import Stream
from fanin.torch.fill import fill

RANDOM = {
    "uniform_": lambda t, **k: init.uniform_(t, **k),
    "normal_": lambda t, **k: init.normal_(t, **k),
    "normal_ std 0": lambda t, **k: init.normal_(t, 0.0, 0.0, **k),
    "trunc_normal_": lambda t, **k: init.trunc_normal_(t, **k),
    "trunc_normal_ std 0": lambda t, **k: init.trunc_normal_(t, 0.0, 0.0, **k),
    "truncated_normal_": lambda t, **k: init.truncated_normal_(t, **k),
    "xavier_uniform_": lambda t, **k: init.xavier_uniform_(t, **k),
    "xavier_normal_": lambda t, **k: init.xavier_normal_(t, **k),
    "kaiming_uniform_": lambda t, **k: init.kaiming_uniform_(t, **k),
    "kaiming_normal_": lambda t, **k: init.kaiming_normal_(t, **k),
    "lecun_uniform_": lambda t, **k: init.lecun_uniform_(t, **k),
    "lecun_normal_": lambda t, **k: init.lecun_normal_(t, **k),
    "variance_scaling_": lambda t, **k: init.variance_scaling_(t, **k),
    "orthogonal_": lambda t, **k: init.orthogonal_(t, **k),
    "delta_orthogonal_": lambda t, **k: init.delta_orthogonal_(t, **k),
    "sparse_": lambda t, **k: init.sparse_(t, 0.4, **k),
    "row_normalized_": lambda t, **k: init.row_normalized_(t, **k),
}
CHANGING = {name: call for name, call in RANDOM.items() if not name.endswith("std 0")}


def one_draw(generator=None):
    return torch.empty((), dtype=torch.int64).random_(-(2**63), None, generator=generator)


@pytest.mark.parametrize("name", RANDOM)
def test_the_default_generator_moves_by_one_draw(name):
    torch.manual_seed(7)
    one_draw()
    expected = torch.get_rng_state()
    torch.manual_seed(7)
    RANDOM[name](torch.empty(12, 20))
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("name", RANDOM)
def test_a_given_generator_moves_by_one_draw_and_the_default_one_stays(name):
    before = torch.get_rng_state()
    reference, given = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    one_draw(reference)
    RANDOM[name](torch.empty(12, 20), generator=given)
    assert torch.equal(given.get_state(), reference.get_state())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", CHANGING)
def test_the_generator_decides_every_bit(name):
    call = CHANGING[name]
    first, same, other = (
        call(torch.empty(12, 20), generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(call(torch.empty(12, 20), generator=generator), first)
    assert not torch.equal(call(torch.empty(12, 20), generator=generator), first)


@pytest.mark.parametrize("name", CHANGING)
def test_manual_seed_works_as_people_expect(name):
    torch.manual_seed(11)
    first, second = CHANGING[name](torch.empty(12, 20)), CHANGING[name](torch.empty(12, 20))
    torch.manual_seed(11)
    assert torch.equal(CHANGING[name](torch.empty(12, 20)), first)
    assert not torch.equal(first, second)


def test_the_places_of_zeros_come_from_the_generator_too():
    masks = set()
    for noise in range(3):
        torch.manual_seed(noise)
        generator = torch.Generator().manual_seed(0)
        masks.add(tuple((init.sparse_(torch.empty(9, 9), 0.5, generator=generator) == 0).flatten().tolist()))
    assert len(masks) == 1


def test_all_64_bits_of_the_key_are_used():
    tops = set()
    for seed in range(16):
        key = int(one_draw(torch.Generator().manual_seed(seed))) % 2**64
        expected = torch.empty(4, 5)
        fill(expected, Normal(0.0, 0.5), Stream(key))
        drawn = init.normal_(torch.empty(4, 5), 0.0, 0.5, torch.Generator().manual_seed(seed))
        assert torch.equal(drawn, expected)
        tops.add(key >> 63)
    assert tops == {0, 1}


@pytest.mark.parametrize("name", CHANGING)
def test_the_number_of_threads_changes_nothing(name):
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(0)
            results.append(CHANGING[name](torch.empty(300, 500)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


@pytest.mark.parametrize(
    "call",
    [
        lambda: init.normal_(torch.empty(0)),
        lambda: init.uniform_(torch.empty(3, 0)),
        lambda: init.normal_(torch.empty(3, 3, device="meta")),
        lambda: init.orthogonal_(torch.empty(3, 3, device="meta")),
        lambda: init.sparse_(torch.empty(3, 3, device="meta"), 0.5),
        lambda: init.row_normalized_(torch.empty(3, 0)),
    ],
)
def test_nothing_to_fill_draws_nothing(call):
    before = torch.get_rng_state()
    call()
    assert torch.equal(torch.get_rng_state(), before)


def test_axes_decide_the_fans():
    shape = (16, 64, 4, 4)
    axes = Axes.conv_transpose(shape, stride=4)
    for function in (init.lecun_normal_, init.lecun_uniform_, init.variance_scaling_):
        torch.manual_seed(0)
        plain = function(torch.empty(shape)).double()
        torch.manual_seed(0)
        placed = function(torch.empty(shape), axes=axes).double()
        torch.testing.assert_close(placed / plain, torch.full_like(plain, (1024 / 64) ** 0.5), rtol=1e-5, atol=0)
