"""Which dimensions of a model grow with its width, where no base model tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fanin.graph import Use
from fanin.graph.network import Network
from fanin.parametrizations.seen import Seen
from fanin.torch.trace.attempts import attempted
from fanin.torch.trace.dataflow import FlowBuilder
from fanin.torch.trace.packed import settled
from fanin.torch.trace.twin_pass import TwinPass
from fanin.torch.trace.uses import Uses

_FINITE_OUTPUTS = ("head", "router")
Growing = Mapping[str, tuple[bool, ...]]


def growing(model: Seen, inputs: Any) -> Growing:
    """For each parameter which of its dimensions are a width, from what the forward pass does with them.

    Outputs of weights are widths, except those of heads and routers; inputs are, except where they come from the
    model's inputs with no weight between. The columns of tables are; of what nothing contracts, the last dimension
    that is as long as some width.

    Args:
        model: what is known of it.
        inputs: to run it with; made up where None.
    """
    fed = fed_by_inputs(model, inputs)
    found = {step.name: grows for step in model.parameters if (grows := _told(model, step.name, fed)) is not None}
    widths = {size for step in model.parameters for size in _sizes(step.shape, found.get(step.name, ()))}
    for step in model.parameters:
        if step.name not in found:
            partners = _partners(model, step.name)
            fixed = any(_makes_outputs(model, name) for name in partners) if partners else step.name in fed
            found[step.name] = (False,) * len(step.shape) if fixed else _last(step.shape, widths)
    return found


def fed_by_inputs(model: Seen, inputs: Any) -> frozenset[str]:
    """The parameters that meet nothing but what comes from the model's inputs with no weight or lookup between."""
    net = _network(model, inputs)
    if net is None:
        return frozenset()
    makers = net.weights | net.lookups
    reads, fed = set[str](), set[str]()
    for index, node in enumerate(net.flow.nodes):
        if node.uses:
            data = net.data(node)
            weighed = any(net.back(value, makers.__contains__).ends for value in data)
            (fed if data and not weighed else reads).update(use.tensor for use in net.at(index))
    return frozenset(fed - reads)


def _network(model: Seen, inputs: Any) -> Network | None:
    if inputs is None:
        done, _ = attempted(model.model, lambda: TwinPass(model.model, {}))
        if done is None:
            return None
    else:
        done = TwinPass(model.model, {})
        done.run(inputs)
    reader, builder = Uses(done.origins, done.calls), FlowBuilder(done.origins, done.recorder.dependence)
    made: list[Use] = []
    for call in done.calls:
        uses = reader.of(call)
        done.origins.derives(call)
        builder.add(call, range(len(made), len(made) + len(uses)))
        made += uses
    return Network(builder.flow(), settled(made, reader.wholes, reader.shapes))


def _told(model: Seen, name: str, fed: frozenset[str]) -> tuple[bool, ...] | None:
    """From the operation that contracts the parameter or looks it up; None where none does."""
    rank = len(model.plan[name].shape)
    use = model.contraction(name)
    if use is not None and use.axes is not None:
        makes, reads = model.role(name) not in _FINITE_OUTPUTS, name not in fed
        axes = use.axes
        return tuple((makes and axis in axes.outputs) or (reads and axis in axes.inputs) for axis in range(rank))
    if any(other.op == "embedding" for other in model.uses.get(name, ())):
        return (False,) * (rank - 1) + (True,)
    return None


def _partners(model: Seen, name: str) -> set[str]:
    """For a bias the weights whose products it is added to."""
    return {use.partner for use in model.uses.get(name, ()) if use.op == "bias" and use.partner}


def _makes_outputs(model: Seen, name: str) -> bool:
    """A head (a tied one too) or a router: its outputs are no width."""
    tied = any(use.op == "embedding" for use in model.uses.get(name, ()))
    return tied or model.role(name) in _FINITE_OUTPUTS


def _sizes(shape: tuple[int, ...], grows: tuple[bool, ...]) -> Iterator[int]:
    return (size for size, is_width in zip(shape, grows, strict=False) if is_width)


def _last(shape: tuple[int, ...], widths: set[int]) -> tuple[bool, ...]:
    last = max((axis for axis, size in enumerate(shape) if size in widths), default=-1)
    return tuple(axis == last for axis in range(len(shape)))
