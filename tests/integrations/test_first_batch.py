"""The first batch is what the loader would give first, and the loader gives it again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from fanin.errors import DataError
from fanin.integrations.first_batch import first_batch, moved

ROWS = torch.arange(20.0).reshape(20, 1)


class Noisy(Dataset[Tensor]):
    """Draws from every random state there is, and from its own."""

    def __init__(self) -> None:
        self.own = np.random.default_rng(1)

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Tensor:
        noise = random.random() + float(np.random.rand()) + float(self.own.random()) + float(torch.rand(()))
        return ROWS[index] + noise


class Stream(IterableDataset[Tensor]):
    """Goes on where it was left."""

    def __init__(self) -> None:
        self.place = 0

    def __iter__(self) -> Iterator[Tensor]:
        while self.place < 20:
            self.place += 1
            yield ROWS[self.place - 1]


def loaders() -> dict[str, DataLoader[Tensor]]:
    return {
        "in order": DataLoader(TensorDataset(ROWS), 4),
        "shuffled": DataLoader(TensorDataset(ROWS), 4, shuffle=True),
        "own generator": DataLoader(TensorDataset(ROWS), 4, shuffle=True, generator=torch.Generator().manual_seed(3)),
        "noisy": DataLoader(Noisy(), 4, shuffle=True),
        "noisy subset": DataLoader(Subset(ConcatDataset([Noisy(), Noisy()]), range(5, 30)), 4),
        "one by one": DataLoader(Noisy(), batch_size=None),
        "stream": DataLoader(Stream(), 4),
        "stream one by one": DataLoader(Stream(), batch_size=None),
    }


def seeded() -> None:
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)


def epoch(loader: DataLoader[Tensor]) -> list[Tensor]:
    seeded()
    return [batch[0] if isinstance(batch, list) else batch for batch in loader]


@pytest.mark.parametrize("name", loaders())
def test_the_loader_does_not_notice(name: str) -> None:
    looked, other = loaders()[name], loaders()[name]
    seeded()
    first_batch(looked)
    first_batch(looked)
    assert torch.equal(torch.rand(3), (seeded(), torch.rand(3))[1])
    for one, two in zip(epoch(looked), epoch(other), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("name", ["in order", "stream", "stream one by one"])
def test_it_is_the_first_batch(name: str) -> None:
    loader = loaders()[name]
    seen = first_batch(loader)
    assert torch.equal(seen[0] if isinstance(seen, list) else seen, epoch(loader)[0])


def test_batches_of_several_loaders_keep_their_shape() -> None:
    loader = loaders()["in order"]
    assert set(first_batch({"a": loader, "b": [loader]})) == {"a", "b"}


def test_any_iterable_is_read_from_a_copy() -> None:
    batches = iter([torch.zeros(2), torch.ones(2)])
    assert torch.equal(first_batch(batches), torch.zeros(2))
    assert len(list(batches)) == 2


def test_what_can_only_be_used_up_is_refused() -> None:
    used = (torch.zeros(2) for _ in range(2))
    with pytest.raises(DataError, match=r"a generator cannot be copied .* StartCheck\(batch=…\)"):
        first_batch(used)
    assert len(list(used)) == 2


def test_no_data_is_told() -> None:
    with pytest.raises(DataError, match="the training data gives no batch: it is empty"):
        first_batch(DataLoader(TensorDataset(torch.zeros(0, 1)), 4))


def test_moved_keeps_all_but_the_device() -> None:
    batch = {"x": torch.zeros(2), "more": [torch.ones(1), "text"], "n": 3}
    seen = moved(batch, "meta")
    assert seen["x"].is_meta
    assert seen["more"][0].is_meta
    assert (seen["more"][1], seen["n"]) == ("text", 3)
