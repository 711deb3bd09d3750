"""Forward multipliers: hooks that are data, so that copies, pickles and compiled models have them too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor, nn

from fanin.errors import ArgumentError
from fanin.torch.unwrapped import is_wrapping

Side = Literal["input", "output", "absorbed"]


@dataclass(frozen=True, slots=True)
class Multiplier:
    """One number that the forward pass multiplies a signal by.

    Attributes:
        tensor: the parameter that it is about.
        module: the module whose input or output is multiplied; "" where it is absorbed.
        side: which of the two, or "absorbed" into the tensor's start and learning rate.
        factor: the number.
        why: what it is for: "readout", "attention", "branch", "product", "input".
        runs: (start, size) of the channels that are multiplied; all where empty.
    """

    tensor: str
    module: str
    side: Side
    factor: float
    why: str
    runs: tuple[tuple[int, int], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {"runs": [list(run) for run in self.runs]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Multiplier:
        """What `to_dict` described."""
        runs = tuple((int(start), int(size)) for start, size in data["runs"])
        return cls(data["tensor"], data["module"], data["side"], data["factor"], data["why"], runs)


@dataclass(frozen=True, slots=True)
class InputScale:
    """A forward pre-hook: the module's first float argument × factor."""

    factor: float

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for place, value in enumerate(args):
            if _is_signal(value):
                return (*args[:place], value * self.factor, *args[place + 1 :]), kwargs
        for name, value in kwargs.items():
            if _is_signal(value):
                return args, kwargs | {name: value * self.factor}
        return None


@dataclass(frozen=True, slots=True)
class OutputScale:
    """A forward hook: the module's output, or some of its channels, × factor."""

    factor: float
    runs: tuple[tuple[int, int], ...] = ()

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, tuple):
            return (self._scaled(output[0]), *output[1:])  # pyright: ignore[reportUnknownVariableType]
        return self._scaled(output)

    def _scaled(self, output: Tensor) -> Tensor:
        if not self.runs:
            return output * self.factor
        factors = output.new_ones(output.shape[-1])
        for start, size in self.runs:
            factors[start : start + size] = self.factor
        return output * factors


def _is_signal(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def register(model: nn.Module, multipliers: Iterable[Multiplier]) -> None:
    """Hang the hooks on the model's modules.

    Raises:
        ArgumentError: the model has no module of a name; then nothing is hung.
    """
    modules = named_modules(model)
    placed = [each for each in multipliers if each.side != "absorbed"]
    for each in placed:
        if each.module not in modules:
            raise ArgumentError(
                f"{type(model).__name__} has no module {each.module!r}, whose {each.side} the record multiplies by "
                f"{each.factor:g}: it is the record of another model"
            )
    for each in placed:
        if each.side == "input":
            modules[each.module].register_forward_pre_hook(InputScale(each.factor), with_kwargs=True)
        else:
            modules[each.module].register_forward_hook(OutputScale(each.factor, each.runs))


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by the names that they have without wrappers (`torch.compile`, checkpointing, data parallelism)."""
    return dict(_named("", model))


def _named(name: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    inside = [(key, child) for key, child in module.named_children() if is_wrapping(module, key)]
    if inside:
        yield from _named(name, inside[0][1])
        return
    yield name, module
    for key, child in module._modules.items():  # pyright: ignore[reportPrivateUsage]
        if child is not None:
            yield from _named(f"{name}.{key}" if name else key, child)
