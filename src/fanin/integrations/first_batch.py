"""The first batch of a data loader, without the loader noticing."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from itertools import islice
from typing import Any, cast

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from fanin.errors import DataError
from fanin.integrations.random_states import generators_kept, random_states_kept


def first_batch(loader: Any) -> Any:
    """What the loader would give first; it, its samplers and all random states stay as they are.

    Samples are fetched here, not by workers. Of an iterable dataset or a loader of another kind a copy is read.

    Args:
        loader: a `DataLoader`; a mapping, list or tuple of them gives the same of batches.

    Raises:
        DataError: there is no batch, or the loader can only be read by using it up.
    """
    if isinstance(loader, Mapping):
        return {name: first_batch(each) for name, each in cast("Mapping[Any, Any]", loader).items()}
    if isinstance(loader, list | tuple):
        return type(loader)(first_batch(each) for each in cast("list[Any]", loader))
    with random_states_kept():
        try:
            return _indexed(loader) if _has_indices(loader) else _streamed(loader)
        except StopIteration:
            raise DataError("the training data gives no batch: it is empty") from None


def _has_indices(loader: Any) -> bool:
    return isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)


def _indexed(loader: DataLoader[Any]) -> Any:
    dataset: Any = loader.dataset
    sampler: Any = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    memo = {id(dataset): dataset, id(_source(loader)): _source(loader)}
    with generators_kept(dataset, loader, loader.sampler, sampler):
        index = next(iter(_copied(sampler, memo)))
        if loader.batch_sampler is None:
            return _collated(loader, dataset[index])
        fetch = getattr(dataset, "__getitems__", None)
        samples = fetch(index) if callable(fetch) else [dataset[each] for each in index]
        return _collated(loader, samples)


def _source(loader: DataLoader[Any]) -> Any:
    """What the sampler counts, which need not be the dataset itself."""
    return getattr(loader.sampler, "data_source", loader.dataset)


def _streamed(loader: Any) -> Any:
    """From a copy: reading a stream moves it on."""
    if not isinstance(loader, DataLoader):
        return next(iter(_copied(loader, {})))
    stream = iter(_copied(loader.dataset, {}))
    if loader.batch_size is None:
        return _collated(loader, next(stream))
    samples = list(islice(stream, loader.batch_size))
    if not samples:
        raise StopIteration
    return _collated(loader, samples)


def _collated(loader: DataLoader[Any], samples: Any) -> Any:
    collate: Any = loader.collate_fn
    with generators_kept(collate):
        return collate(samples)


def _copied(thing: Any, memo: dict[int, Any]) -> Any:
    try:
        return deepcopy(thing, memo)
    except Exception as error:
        raise DataError(
            f"no batch can be looked at ahead: a {type(thing).__name__} cannot be copied ({error}), and reading it "
            "would use it up; give the callback one, as StartCheck(batch=…)"
        ) from error


def moved(value: Any, device: Any) -> Any:
    """The batch with its tensors on this device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: moved(each, device) for name, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(moved(each, device) for each in cast("list[Any]", value))
    return value
