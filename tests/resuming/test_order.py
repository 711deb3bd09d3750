"""The order of the data: a permutation, another in each epoch, that goes on where the loop was."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from itertools import chain, permutations

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from torch.utils.data import DataLoader, Dataset

from fanin import ArgumentError, WeightsError
from fanin.resuming import Order, Permutation


class Numbers(Dataset):
    """Samples that say which they are."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index


class Drawing(Numbers):
    """Samples with the next number of each global generator."""

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        return index, random.random(), np.random.rand(), torch.rand(()).item()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 63, 64, 65, 1000, 4097, 70_000])
def test_every_index_stands_once(size: int) -> None:
    found = Permutation.named(size, seed=size, name="a").at(np.arange(size))
    assert sorted(found.tolist()) == list(range(size))


def test_a_part_is_had_without_the_rest() -> None:
    order = Permutation.named(10**12, seed=1, name="a")
    places = np.array([0, 10**12 - 1, 123_456_789_012])
    found = order.at(places)
    assert found.tolist() == [order.at(np.array([place])).item() for place in places]
    assert len(set(found.tolist())) == 3
    assert found.min() >= 0
    assert found.max() < 10**12


@pytest.mark.parametrize("size", [3, 4])
def test_all_orders_are_equally_likely(size: int) -> None:
    draws = 30 * len(list(permutations(range(size))))
    places = np.arange(size)
    counts = Counter(tuple(Permutation(size, 0x9E3779B9 * key).at(places).tolist()) for key in range(draws))
    expected = draws / len(list(permutations(range(size))))
    statistic = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == len(list(permutations(range(size))))
    assert chi2.sf(statistic, len(counts) - 1) > 1e-6


def test_neighbours_are_not_kept_together() -> None:
    size, epochs = 1000, 40
    close = 0
    for key in range(epochs):
        found = Permutation.named(size, seed=key, name="a").at(np.arange(size))
        close += int((np.abs(np.diff(found)) == 1).sum())
    # Of a uniform permutation: 2 adjacent pairs are expected whatever the size, about Poisson.
    assert abs(close - 2 * epochs) < 5 * (2 * epochs) ** 0.5


def test_the_order_is_a_contract() -> None:
    assert list(Order(10, 10, seed=0)) == [[9, 7, 0, 6, 8, 5, 4, 2, 3, 1]]
    assert list(Order(10, 10, seed=1)) == [[4, 8, 3, 5, 7, 6, 0, 2, 1, 9]]


def test_epochs_differ_and_seeds_differ() -> None:
    first, other = Order(100, 100, seed=0), Order(100, 100, seed=1)
    epochs = []
    for _ in range(3):
        epochs += [tuple(batch.tolist()) for batch in first.batches(DataLoader(Numbers(100), batch_sampler=first))]
    assert len({*epochs, tuple(next(iter(other)))}) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_that_fetch_ahead_do_not_move_the_position(workers: int) -> None:
    order = Order(20, 3, seed=0)
    loader = DataLoader(Numbers(20), batch_sampler=order, num_workers=workers)
    whole = [batch.tolist() for batch in DataLoader(Numbers(20), batch_sampler=Order(20, 3, seed=0))]
    batches = order.batches(loader)
    assert [next(batches).tolist() for _ in range(2)] == whole[:2]
    assert (order.epoch, order.position) == (0, 6)
    state = order.state_dict()
    batches.close()
    again = Order(20, 3, seed=0)
    again.load_state_dict(state)
    rest = again.batches(DataLoader(Numbers(20), batch_sampler=again, num_workers=workers))
    assert [batch.tolist() for batch in rest] == whole[2:]
    assert (again.epoch, again.position) == (1, 0)


def test_iterating_in_the_middle_of_an_epoch_draws_no_random_number() -> None:
    order, generator = Order(6, 2, seed=0), torch.Generator()
    loader = DataLoader(Numbers(6), batch_sampler=order, generator=generator)
    next(order.batches(loader))
    before, own = torch.get_rng_state(), generator.get_state()
    next(order.batches(loader))
    assert torch.get_rng_state().equal(before)
    assert generator.get_state().equal(own)


def test_at_the_beginning_of_an_epoch_a_loader_draws_as_it_always_does() -> None:
    order, generator = Order(6, 2, seed=0), torch.Generator()
    before = generator.get_state()
    next(order.batches(DataLoader(Numbers(6), batch_sampler=order, generator=generator)))
    assert not generator.get_state().equal(before)


def test_ranks_share_each_batch_and_meet_at_the_end() -> None:
    parts = [list(Order(10, 2, seed=0, rank=rank, world=2)) for rank in range(2)]
    together = [[*left, *right] for left, right in zip(*parts, strict=True)]
    assert [len(each) for each in together] == [4, 4, 2]
    assert sorted(chain.from_iterable(together)) == list(range(10))
    padded = [list(Order(9, 2, seed=0, rank=rank, world=2)) for rank in range(2)]
    assert [len(batch) for batch in padded[0]] == [len(batch) for batch in padded[1]] == [2, 2, 1]
    assert padded[1][2] == padded[0][0][:1]  # filled up from the epoch's beginning
    assert [len(list(Order(11, 2, drop_last=True, rank=rank, world=2))) for rank in range(2)] == [2, 2]


def test_another_world_and_batch_size_go_on_at_the_same_sample() -> None:
    whole = list(chain.from_iterable(Order(24, 24, seed=3)))
    one = Order(24, 4, seed=3)
    batches = one.batches(DataLoader(Numbers(24), batch_sampler=one))
    taken = [*next(batches).tolist(), *next(batches).tolist()]
    rest = []
    for rank in range(2):
        order = Order(24, 8, seed=3, rank=rank, world=2)
        order.load_state_dict(one.state_dict())
        rest += chain.from_iterable(order)
    assert taken == whole[:8]
    assert sorted(rest) == sorted(whole[8:])


def test_lengths() -> None:
    for size, batch, drop, world in [(10, 3, False, 1), (10, 3, True, 1), (9, 2, False, 2), (9, 2, True, 2)]:
        order = Order(size, batch, drop_last=drop, world=world)
        assert len(order) == len(list(order))


@pytest.mark.parametrize("workers", [1, 2])
def test_seeded_samples_do_not_depend_on_workers_or_batches(workers: int) -> None:
    def drawn(batch_size: int, workers: int, skip: int = 0) -> dict[int, tuple[float, ...]]:
        order = Order(12, batch_size, seed=0)
        order.position = skip
        loader = DataLoader(order.seeded(Drawing(12)), batch_sampler=order, num_workers=workers)
        return {
            int(index): (float(a), float(b), float(c))
            for batch in order.batches(loader)
            for index, a, b, c in zip(*batch, strict=True)
        }

    alone = drawn(12, 0)
    assert len({value for values in alone.values() for value in values}) == 36
    assert drawn(4, workers) == alone
    rest = drawn(4, workers, skip=4)
    assert len(rest) == 8
    assert rest.items() <= alone.items()


def test_seeded_samples_differ_from_epoch_to_epoch_and_leave_the_generators_alone() -> None:
    order = Order(3, 3, seed=0)
    loader = DataLoader(order.seeded(Drawing(3)), batch_sampler=order, generator=torch.Generator())
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()
    epochs = [{tuple(map(float, row)) for row in zip(*batch, strict=True)} for _ in "ab" for batch in
              order.batches(loader)]  # fmt: skip
    assert len(epochs[0] | epochs[1]) == 6
    assert before == (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist())
    assert order.seeded(Numbers(3))[2] == 2
    assert len(order.seeded(Numbers(3))) == 3


def test_batches_travel_to_workers_with_their_epoch() -> None:
    order = Order(4, 4, seed=0)
    order.epoch = 7
    batch = pickle.loads(pickle.dumps(next(iter(order))))
    assert (batch, batch.epoch) == (next(iter(order)), 7)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"size": 0}, "size must be a whole number from 1, got 0"),
        ({"size": 3, "batch_size": 2.0}, "batch_size must be a whole number from 1, got 2.0"),
        ({"size": 3, "rank": 2, "world": 2}, "rank must be from 0 to world - 1, got rank 2 of world 2"),
        ({"size": 3, "seed": -1}, "seed must be from 0 to 2**64 - 1, got -1"),
        (
            {"size": 3, "batch_size": 2, "world": 2, "drop_last": True},
            "no batch is full: 3 samples, and 2 ranks with batches of 2 take 4 at once; pass drop_last=False",
        ),
    ],
)
def test_orders_that_cannot_be(arguments, text) -> None:
    with pytest.raises(ArgumentError) as caught:
        Order(**arguments)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"seed": 1}, "its seed is 1 there and 0 here"),
        ({"size": 5}, "its size is 5 there and 4 here"),
        ({"shuffle": False}, "its shuffle is False there and True here"),
        ({"position": 4}, "epoch 0 and position 4 are no place in 4 samples"),
        ({"epoch": "x"}, "epoch 'x' and position 0 are no place in 4 samples"),
    ],
)
def test_states_of_another_order_are_refused(change, text) -> None:
    order = Order(4)
    with pytest.raises(WeightsError) as caught:
        order.load_state_dict({**order.state_dict(), **change})
    assert str(caught.value) == f"this is the state of another order: {text}"
    assert (order.epoch, order.position) == (0, 0)


def test_a_loader_with_another_order_is_refused() -> None:
    with pytest.raises(ArgumentError, match="the loader has another order: make it as DataLoader"):
        next(Order(4).batches(DataLoader(Numbers(4), batch_sampler=Order(4))))
