"""What each weight's input came out of, and chains of weights with nothing but nonlinearities between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from fanin.graph.flow import Flow, Node
from fanin.graph.operations import AVERAGES, LARGEST, NORMS, REDUCTIONS, RESAMPLING, WEIGHTED
from fanin.graph.records import Place, Use

# The same elements, moved or thinned at random: a signal stays what it is.
_SAME = frozenset(("_to_copy", "clone", "copy", "_unsafe_view", "alias", "detach", "native_dropout"))
# Neighbours or pieces of it.
_ALIKE = RESAMPLING | {"pixel_shuffle"}
# Rows of it.
_PICKING = frozenset(("index", "index_select", "gather"))
_BLANK = frozenset(("empty", "zeros", "new_empty", "new_zeros", "empty_like", "zeros_like"))
_LINEAR = frozenset(("add", "sub", "mul", "div", "neg"))
_SCALING = frozenset(("mul", "div"))


@dataclass(frozen=True, slots=True)
class _Signal:
    """What a memory holds.

    Attributes:
        source: the use (by its index) of the weight that it came out of; None for inputs, tables, norms and sums.
        bent: a nonlinearity lies between.
        whole: nothing else does: no pooling, no padding.
        reduced: only a statistic of it is left.
        normal: it came out of a norm, and nothing but numbers and the norm's own parameters touched it since.
        scaled: the number that it was multiplied by since.
        largest_of: each value is the largest of so many …
        mean_of: … or the mean of so many such ones, behind a nonlinearity.
    """

    source: int | None = None
    bent: bool = False
    whole: bool = True
    reduced: bool = False
    normal: bool = False
    scaled: float = 1.0
    largest_of: int = 1
    mean_of: int = 1


@dataclass(slots=True)
class _Reading:
    """What a walk along the flow found out about weights, by the index of their uses."""

    read: dict[int, _Signal] = field(default_factory=dict[int, _Signal])
    taken: defaultdict[int, int] = field(default_factory=lambda: defaultdict[int, int](int))
    normed: set[int] = field(default_factory=set[int])
    gates: dict[int, int] = field(default_factory=dict[int, int])
    scales: dict[int, int] = field(default_factory=dict[int, int])


Chains = Mapping[str, tuple[int, int]]
"""Tensor → its ordinal in its chain (a bias has its weight's), and how many weights the chain has."""


def chained(flow: Flow, uses: Sequence[Use]) -> tuple[tuple[Use, ...], Chains]:
    """`uses` with what each weight reads, whether a norm follows it and by what gate it is multiplied; and the chains.

    A weight reads the nonlinearity that the weight before it goes into, as long as neither a norm, a sum, a product
    with another signal nor attention comes between; else nothing is named, for then its input is put right or new.

    Args:
        flow: the dataflow of a pass.
        uses: its uses of parameters with their activations, in the order of `Node.uses`.
    """
    reading = _read(flow, uses)
    told = tuple(_told(use, index, uses, reading) for index, use in enumerate(uses))
    found = list(_chains(uses, reading))
    chains = {uses[index].tensor: (n, len(chain)) for chain in found for n, index in enumerate(chain)}
    return told, chains | {
        use.tensor: chains[use.partner] for use in uses if use.op == "bias" and use.partner in chains
    }


def in_chains(places: Mapping[str, Place], chains: Chains) -> Mapping[str, Place]:
    """`places` with the chains written in."""
    told = {
        name: replace(places.get(name, Place()), chain=ordinal, chained=count)
        for name, (ordinal, count) in chains.items()
    }
    return {**places, **told}


def _told(use: Use, index: int, uses: Sequence[Use], reading: _Reading) -> Use:
    signal = reading.read.get(index)
    if index in reading.normed:
        use = replace(use, normed=True)
    if index in reading.scales:
        use = replace(use, partner=uses[reading.scales[index]].tensor)
    if index in reading.gates:
        use = replace(use, gated_by=uses[reading.gates[index]].activation)
    if signal is not None and signal.normal:
        use = replace(use, scaled=abs(signal.scaled), behind_norm=True)
    if signal is None or signal.source is None or not signal.bent:
        return use
    before = uses[signal.source]
    return replace(
        use,
        reads=before.activation,
        reads_parameter=before.parameter,
        largest_of=signal.largest_of,
        mean_of=signal.mean_of,
    )


def _read(flow: Flow, uses: Sequence[Use]) -> _Reading:
    reading = _Reading()
    signals: dict[int, _Signal] = {}
    blank = set[int]()  # new memory that a signal is yet to be copied into
    for node in flow.nodes:
        if node.is_view or not node.writes:
            continue
        known = [value.memory for value in node.reads if value.memory in flow.data and value.memory not in blank]
        if node.op in _BLANK:
            blank |= {value.memory for value in node.writes}
            continue
        read = [signals.get(memory, _Signal()) for memory in known]
        signal = _written(node, read, uses, reading)
        for source in {each.source for each in read}:
            if source is not None and source != signal.source:
                reading.taken[source] += 1
        signals |= {value.memory: signal for value in node.writes}
    return reading


def _written(node: Node, read: list[_Signal], uses: Sequence[Use], reading: _Reading) -> _Signal:
    weights = [number for number in node.uses if uses[number].op in WEIGHTED]
    if weights and read:
        reading.read |= dict.fromkeys(weights, read[0])
        reading.gates |= dict(_packed_gates(weights, uses))
        # Blocks of a packed weight go different ways.
        return _Signal(weights[0] if len(weights) == 1 and uses[weights[0]].axes is not None else None)
    sources = {signal.source for signal in read}
    if node.op == "mul" and len(read) == 2 and len(sources) == 2:
        reading.gates |= dict(_gates(read))
    if len(sources) != 1:
        return _Signal(normal=node.op in NORMS)
    if sources == {None}:
        return _of_none(node, read)
    first = read[0]
    bent = any(signal.bent for signal in read)
    if node.op in NORMS or any(signal.reduced for signal in read) != all(signal.reduced for signal in read):
        # Composed norms divide a signal by a statistic of itself.
        if first.source is not None and not any(signal.bent for signal in read if not signal.reduced):
            reading.normed.add(first.source)
            reading.scales |= dict.fromkeys((each for each in node.uses if uses[each].op == "norm_scale"), first.source)
        return _Signal(normal=node.op in NORMS or node.op in _SCALING)
    if node.op in REDUCTIONS:
        return replace(_pooled(node, first), bent=bent, whole=False, reduced=True)
    if node.pointwise or node.op == "_prelu_kernel":
        return replace(first, bent=bent or node.op not in _LINEAR or len(read) > 1)
    if node.op in _SAME:
        return first
    return replace(_pooled(node, first), whole=False) if node.op in _ALIKE else _Signal()


def _pooled(node: Node, signal: _Signal) -> _Signal:
    """With the windows of a pooling counted in.

    A mean over all positions is no mean of neighbours: how alike far ones are is not known. A maximum of means is left
    at the means, as these differ little.
    """
    if node.op in LARGEST and signal.mean_of == 1:
        return replace(signal, largest_of=signal.largest_of * node.window)
    if node.op in RESAMPLING & AVERAGES and signal.bent and prod(node.writes[0].shape[2:]) > 1:
        return replace(signal, mean_of=signal.mean_of * node.window)
    return signal


def _of_none(node: Node, read: Sequence[_Signal]) -> _Signal:
    """What becomes of signals that came out of no weight: whether they are normal, and times what."""
    first = next(iter(read), _Signal())
    if node.op in NORMS or (node.op in _SCALING and any(each.reduced for each in read) != all(x.reduced for x in read)):
        return _Signal(normal=True)
    if node.op in REDUCTIONS:
        return _Signal(reduced=True)
    if node.op in _PICKING:
        return first
    if len(read) == 1 and (first.reduced or node.op in _SAME or node.op in _SCALING):
        return _times(node, first)
    return _Signal()


def _times(node: Node, signal: _Signal) -> _Signal:
    return signal if node.factor is None else replace(signal, scaled=signal.scaled * node.factor)


def _gates(read: Sequence[_Signal]) -> Iterator[tuple[int, int]]:
    """In a product of two weights' outputs of which one went through a nonlinearity: the other, and that one."""
    one, other = sorted(read, key=lambda signal: signal.bent)
    if other.bent and not one.bent and one.source is not None and other.source is not None:
        yield one.source, other.source


def _packed_gates(weights: Sequence[int], uses: Sequence[Use]) -> Iterator[tuple[int, int]]:
    gates = [number for number in weights if uses[number].role == "mlp gate"]
    if gates:
        yield from ((number, gates[0]) for number in weights if uses[number].role == "mlp up")


def _chains(uses: Sequence[Use], reading: _Reading) -> Iterator[list[int]]:
    """Runs of weights, each reading nothing but the nonlinearity behind the one before, which none else reads."""
    counts: defaultdict[str, int] = defaultdict(int)
    for index in reading.read:
        counts[uses[index].tensor] += 1
    after: dict[int, int] = {}
    for index, signal in reading.read.items():
        before = signal.source
        if before is None or not (signal.bent and signal.whole) or reading.taken[before] != 1:
            continue
        if all(_plain(uses[each]) and counts[uses[each].tensor] == 1 for each in (before, index)) and _fit(
            uses[before], uses[index]
        ):
            after[before] = index
    for start in sorted(after.keys() - after.values()):
        chain = [start]
        while chain[-1] in after:
            chain.append(after[chain[-1]])
        yield chain


def _plain(use: Use) -> bool:
    """One matrix or convolution, whole and of a single group."""
    axes = use.axes
    if axes is None or use.parts or use.op not in ("linear", "conv"):
        return False
    return axes.groups == 1 and not axes.batch and len(axes.outputs) == len(axes.inputs) == 1


def _fit(before: Use, after: Use) -> bool:
    first, second = before.axes, after.axes
    if first is None or second is None or before.op != after.op:
        return False
    return first.shape[first.outputs[0]] == second.shape[second.inputs[0]]
