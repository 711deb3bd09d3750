"""Values of `Copy` steps: weights files opened once, and what a step takes from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from fanin.errors import PlanError, UnknownNameError
from fanin.initializers import Initializer
from fanin.names import keys_in
from fanin.plans.changes import check_changes
from fanin.plans.steps import Copy, Step
from fanin.random import Stream
from fanin.torch.changes import Inputs, changed
from fanin.torch.file_tensors import OpenedWeights
from fanin.torch.files import open_weights
from fanin.torch.fill import fill
from fanin.torch.materialize.laws import check_law
from fanin.torch.replay import DTYPES, limit_for
from fanin.torch.stretches import Read
from fanin.torch.tensors import PLAIN_CLASSES
from fanin.weights.file_bytes import Place

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Sources:
    """Existing weights by the name that `Copy` steps give them: those given, else files, each opened once."""

    given: Mapping[str, Weights] = field(default_factory=dict[str, Weights])
    _opened: dict[str, Weights] = field(default_factory=dict[str, Weights])

    def __getitem__(self, source: str) -> Weights:
        if source in self.given:
            return self.given[source]
        if source not in self._opened:
            self._opened[source] = opened_here(source)
        return self._opened[source]


@dataclass(frozen=True, slots=True, eq=False)
class Copied:
    """The values of one `Copy` step.

    Attributes:
        step: whose action is `copy`.
        copy: what it copies.
        weights: the tensors of its source.
    """

    step: Step
    copy: Copy
    weights: Weights

    @classmethod
    def of(cls, step: Step, copy: Copy, sources: Sources) -> Copied:
        """What a step copies, if its source has it and its changes give the step's shape; no value is read.

        Raises:
            WeightsError: the source cannot be opened.
            PlanError: it lacks a tensor, or the changes cannot be made or give another shape.
        """
        check_changes(copy.changes)
        copied = cls(step, copy, sources[copy.source])
        shape = copied.shape
        if shape != step.shape:
            what = f"{copy.key!r} in {copy.source} has" if not copy.changes else f"{copy.key!r}, changed, has"
            raise PlanError(f"{what} shape {shape}, the plan {step.shape}")
        return copied

    @property
    def form(self) -> torch.Tensor:
        """Its shape and dtype, on the meta device."""
        return self._run(Inputs(self._stored_form, self._drawn_form))

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        place = None if self.copy.changes else place_of(self.weights, self.copy.key)
        return tuple(self.form.shape) if place is None else place.shape

    @property
    def stored_dtype(self) -> torch.dtype:
        """The dtype of the stored values, before any change."""
        place = place_of(self.weights, self.copy.key)
        return self._stored(self.copy.key).dtype if place is None else dtype_of(place)

    @property
    def place(self) -> Place | None:
        """Where the values lie in a file, row by row and as they are; None where they do not."""
        if self.copy.changes:
            return None
        place = place_of(self.weights, self.copy.key)
        return place if place is not None and place.plain else None

    @property
    def files(self) -> Iterator[str]:
        """The files that are read: the source, and those in which an index or folder says that the values lie."""
        yield self.copy.source
        for key in (self.copy.key, *keys_in(self.copy.changes)):
            place = place_of(self.weights, key)
            if place is not None and place.path is not None:
                yield str(place.path)

    def _has_bytes_of(self, target: torch.Tensor) -> bool:
        place = self.place
        return (
            place is not None
            and DTYPES.get(place.dtype) is target.dtype
            and type(target) in PLAIN_CLASSES
            and target.is_cpu
            and target.layout is torch.strided
            and target.is_contiguous()
            and not target.is_neg()
            and not target.is_conj()
        )

    def read_to(self, target: torch.Tensor) -> Read | None:
        """How the bytes are read to those of a tensor; None where the values must go through memory of their own.

        Raises:
            WeightsError: the file changed.
        """
        weights = self.weights
        if not isinstance(weights, OpenedWeights) or not self._has_bytes_of(target):
            return None
        return weights.read_to(self.copy.key, target)

    def check_read(self, read: Read, target: torch.Tensor) -> None:
        """Raise if the source does not let values that were read to a tensor into a model.

        Raises:
            WeightsError: which, and why.
        """
        if isinstance(self.weights, OpenedWeights):
            self.weights.check_read(self.copy.key, read, target)

    def release(self) -> None:
        """Give back the memory that `values` took of a file, once they are used; a view that a user holds stays."""
        if isinstance(self.weights, OpenedWeights) and self.weights.is_own:
            self.weights.release()

    def values(self, seed: int) -> torch.Tensor:
        """All values, read and changed; `seed` is for what changes draw."""

        def draw(law: Initializer, shape: tuple[int, ...]) -> torch.Tensor:
            drawn = torch.empty(shape, dtype=DTYPES[self.step.dtype], device="cpu")
            fill(drawn, law, Stream.named(seed, self.step.name))
            return drawn

        return self._run(Inputs(self._stored, draw))

    def _run(self, inputs: Inputs) -> torch.Tensor:
        with torch.no_grad():
            return changed(self.copy.key, self.copy.changes, inputs, limit_for(self.step.shape))

    def _stored(self, key: str) -> torch.Tensor:
        try:
            return self.weights[key].detach()
        except (KeyError, UnknownNameError):
            raise PlanError(f"{self.copy.source} has no tensor {key!r}") from None

    def _stored_form(self, key: str) -> torch.Tensor:
        place = place_of(self.weights, key)
        if place is None:
            return self._stored(key).to("meta")
        return torch.empty(place.shape, dtype=dtype_of(place), device="meta")

    def _drawn_form(self, law: Initializer, shape: tuple[int, ...]) -> torch.Tensor:
        dtype = DTYPES[self.step.dtype]
        check_law(law, shape, dtype)
        return torch.empty(shape, dtype=dtype, device="meta")


def opened_here(path: str) -> OpenedWeights:
    """A file opened for its `Copied` values alone, so that they may give back the memory that they took."""
    opened = open_weights(path)
    opened.release()  # a touch of an archive's headers maps all that lies around them
    return OpenedWeights(opened.file, opened.tensors, is_own=True)


def place_of(weights: Weights, key: str) -> Place | None:
    """Where a tensor lies in its file, with its shape and dtype; None where that is not known without reading it."""
    return weights.place(key) if isinstance(weights, OpenedWeights) else None


def dtype_of(place: Place) -> torch.dtype:
    """The dtype of its values once read: blocks of quantised values are decoded to float32."""
    return DTYPES.get(place.dtype, torch.float32)


def bytes_of(weights: Weights, key: str) -> int:
    """Bytes that a tensor takes where it is stored."""
    place = place_of(weights, key)
    return weights[key].nbytes if place is None else place.nbytes
