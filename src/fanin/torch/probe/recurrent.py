"""Recurrent layers: a mean-field simulation of one unit through time.

The same matrices act at every step, and still, in wide layers, what a gate sees is a Gaussian process over time with

    E[u(t)·u(t′)] = n_in·σ_x²·E[x(t)·x(t′)] + n·σ_h²·E[h(t − 1)·h(t′ − 1)] + σ_b²

and independent gates (Yang 2019, arXiv:1910.12478, for weights that are shared over time). The cell's equations turn
draws of the gates into draws of h, step by step; biases are drawn from the values that the layer holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fanin.torch.probe.ancestry import ALL, merged
from fanin.torch.probe.arguments import Args, Kwargs
from fanin.torch.probe.pairs import LARGEST, Lazy, Pairs
from fanin.torch.probe.quadrature import normal_quantiles
from fanin.torch.probe.sequences import over_time
from fanin.torch.probe.signal import Rule, Signal
from fanin.torch.probe.tape import Handler, Tape

_SEED = 17
_DRAWS, _LEAST = 4096, 256
_WORK = 1 << 27
_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@dataclass(frozen=True, slots=True)
class _Layer:
    """Moments of one layer in one direction.

    Attributes:
        inner: n_in·E[w²] of each gate's input matrix.
        outer: n·E[w²] of each gate's recurrent matrix; zeros where that is an identity.
        own: α of a recurrent matrix α·I.
        biases: the sum of both biases, (gates, units); of the GRU's candidate only that inside of the reset.
        outside: the input's bias of the GRU's candidate.
    """

    inner: list[float]
    outer: list[float]
    own: float
    biases: Tensor
    outside: Tensor


def recurrent(name: str) -> Handler:
    """The functions behind nn.LSTM, nn.GRU and nn.RNN."""

    def handle(tape: Tape, args: Args, kwargs: Kwargs) -> Rule | str:
        if len(args) != 9 or not isinstance(args[3], bool):
            return "packed sequences are not covered"
        x, start, flat, biased, layers, rate, training, both, batch_first = args
        names = [tape.names.get(id(weight)) for weight in flat]
        per = 4 if biased else 2
        if len(flat) != per * layers * (2 if both else 1) or None in names:
            return "a recurrent layer with a projection, or whose matrices are no parameters"
        known = [found for found in names if found is not None]
        if any(tape.used(found) for found in known):
            return "a recurrent layer that is used before"
        draws = {tape.draw(found): ALL for found in known}
        states = start if isinstance(start, (tuple, list)) else (start,)
        if any(bool(state.any()) for state in states):
            return "a recurrent layer that does not start from zero"
        if rate and training and layers > 1:
            return "dropout between recurrent layers"
        source = tape.signal(x, -1)
        table = None if source is None else over_time(tape, source, x, batch_first=batch_first)
        if source is None or table is None or not _fits(table):
            return "pairs of time steps are not followed up to this layer"
        cells = _layers(tape, name, flat, per)
        if isinstance(cells, str):
            return cells
        found = _stacked(name, table, cells, int(layers), 2 if both else 1)
        return _rule(found, x, batch_first, merged((source.ancestors, draws)), 2 if name == "lstm" else 1)

    return handle


def _fits(table: Tensor) -> bool:
    samples, steps = table.shape[:2]
    return samples * steps**2 <= LARGEST and samples * steps**2 * _LEAST <= _WORK


def _layers(tape: Tape, name: str, flat: Sequence[Tensor], per: int) -> list[_Layer] | str:
    found: list[_Layer] = []
    for start in range(0, len(flat), per):
        inner, outer = flat[start], flat[start + 1]
        biases = [bias.detach().double() for bias in flat[start + 2 : start + per]]
        gates, units = _GATES[name], outer.shape[1]
        if any(_skewed(tape, weight) for weight in (inner, outer)):
            return "a recurrent layer whose weights have a mean"
        own = _alpha(outer)
        table = torch.stack([bias.reshape(gates, units) for bias in biases]) if biases else None
        zero = torch.zeros(gates, units, dtype=torch.float64, device=outer.device)
        total, outside = zero if table is None else table.sum(0), zero[-1]
        if name == "gru" and table is not None:
            total, outside = torch.cat((total[:2], table[1, 2:])), table[0, 2]
        seconds = _seconds(tape, inner, gates)
        back = [0.0] * gates if own is not None else _seconds(tape, outer, gates)
        found.append(
            _Layer(
                [inner.shape[1] * second for second in seconds],
                [units * second for second in back],
                own or 0.0,
                total,
                outside,
            )
        )
    return found


def _skewed(tape: Tape, weight: Tensor) -> bool:
    seen = tape.moments(tape.names[id(weight)], weight)
    return _alpha(weight) is None and abs(seen.mean) > 5 * seen.std / max(1, weight.numel()) ** 0.5


def _alpha(weight: Tensor) -> float | None:
    """α of a matrix α·I."""
    if weight.shape[0] != weight.shape[1]:
        return None
    alpha = weight[0, 0].item()
    return alpha if alpha and torch.equal(weight, torch.eye(weight.shape[0]).to(weight) * alpha) else None


def _seconds(tape: Tape, weight: Tensor, gates: int) -> list[float]:
    """E[w²] of each gate: its share of the values, of what the law says of the whole."""
    name = tape.names[id(weight)]
    own = [float(part.double().square().mean()) for part in weight.detach().chunk(gates)]
    whole = sum(own) / gates
    mean, std = tape.laws.get(name, (0.0, whole**0.5))
    slack = 5 * (2 * gates / max(1, weight.numel())) ** 0.5
    shares = [second / whole if whole else 1.0 for second in own]
    if all(abs(share - 1) < slack for share in shares):
        shares = [1.0] * gates
    return [share * (mean**2 + std**2) for share in shares]


def _stacked(name: str, table: Tensor, cells: list[_Layer], layers: int, ways: int) -> tuple[Tensor, Tensor]:
    """E[h·h′] and E[h] of the last layer, both directions averaged."""
    mean = torch.zeros(table.shape[:2], dtype=table.dtype, device=table.device)
    for layer in range(layers):
        found = [
            _through(name, table if way == 0 else table.flip(1, 2), cells[layer * ways + way], seed=layer * ways + way)
            for way in range(ways)
        ]
        turned = [pair if way == 0 else (pair[0].flip(1, 2), pair[1].flip(1)) for way, pair in enumerate(found)]
        table = torch.stack([pair[0] for pair in turned]).mean(0)
        mean = torch.stack([pair[1] for pair in turned]).mean(0)
    return table, mean


class _Process:
    """Draws of a Gaussian process over time, one step at a time, by the growing Cholesky factor of its covariance."""

    def __init__(self, noise: Tensor, samples: int) -> None:
        self.noise = noise
        steps = noise.shape[0]
        self.factor = noise.new_zeros(samples, steps, steps)

    def step(self, t: int, row: Tensor) -> Tensor:
        """Values (samples, draws) at time t, from E[u(t)·u(s)] for s ≤ t, (samples, t + 1)."""
        known = self.factor[:, :t, :t]
        left = torch.linalg.solve_triangular(known, row[:, :t, None], upper=False)[..., 0] if t else row[:, :0]
        rest = (row[:, t] - left.square().sum(1)).clamp_min(1e-9 * row[:, t].clamp_min(1e-30))
        self.factor[:, t, :t], self.factor[:, t, t] = left, rest.sqrt()
        return self.factor[:, t, : t + 1] @ self.noise[: t + 1]


def _through(name: str, table: Tensor, layer: _Layer, seed: int) -> tuple[Tensor, Tensor]:
    """E[h·h′] and E[h] of one layer from E[x·x′]."""
    samples, steps = table.shape[:2]
    gates = len(layer.inner)
    draws = min(_DRAWS, 2 * (_WORK // (2 * samples * steps**2)))
    noise = _noise(steps, gates + (name == "gru"), draws, seed).to(table.device)
    cell = _CELLS[name](layer, _resampled(layer.biases, draws), _resampled(layer.outside[None], draws)[0])
    processes = [_Process(noise[:, gate], samples) for gate in range(noise.shape[1])]
    hidden = table.new_zeros(samples, steps + 1, draws)
    back = table.new_zeros(samples, steps + 1, steps + 1)
    for t in range(steps):
        inside, outside = table[:, t, : t + 1], back[:, t, : t + 1]
        hidden[:, t + 1] = cell.step(t, processes, inside, outside, hidden[:, t])
        row = (hidden[:, : t + 2] * hidden[:, t + 1 : t + 2]).mean(-1)
        back[:, t + 1, : t + 2] = row
        back[:, : t + 2, t + 1] = row
    return back[:, 1:, 1:], hidden[:, 1:].mean(-1)


def _noise(steps: int, gates: int, draws: int, seed: int) -> Tensor:
    """Standard normal values (steps, gates, draws): the same quantiles in each, shuffled; and all with both signs."""
    generator = torch.Generator().manual_seed(_SEED + seed)
    quantiles = normal_quantiles(torch.device("cpu"), draws // 2)
    order = torch.rand((steps * gates, draws // 2), generator=generator).argsort(dim=1)
    half = quantiles[order]
    return torch.cat((half, -half), dim=1).reshape(steps, gates, draws)


def _resampled(biases: Tensor, draws: int) -> Tensor:
    """Biases (gates, units) of as many units as there are draws, the same units for all gates; each one twice."""
    generator = torch.Generator().manual_seed(_SEED)
    half = draws // 2
    picks = torch.linspace(0, biases.shape[1] - 1, half).round().long()
    picks = picks[torch.randperm(half, generator=generator)].to(biases.device)
    return biases[:, torch.cat((picks, picks))]


class _Cell:
    def __init__(self, layer: _Layer, biases: Tensor, outside: Tensor) -> None:
        self.layer = layer
        self.biases = biases
        self.outside = outside

    def gate(self, k: int, t: int, processes: list[_Process], inside: Tensor, back: Tensor) -> Tensor:
        """What gate k sees at time t, with its bias."""
        row = self.layer.inner[k] * inside + self.layer.outer[k] * back
        return processes[k].step(t, row) + self.biases[k]


class _Plain(_Cell):
    function = staticmethod(torch.tanh)

    def step(self, t: int, processes: list[_Process], inside: Tensor, back: Tensor, before: Tensor) -> Tensor:
        return self.function(self.gate(0, t, processes, inside, back) + self.layer.own * before)


class _Rectified(_Plain):
    function = staticmethod(torch.relu)


class _Gru(_Cell):
    def step(self, t: int, processes: list[_Process], inside: Tensor, back: Tensor, before: Tensor) -> Tensor:
        reset, update = (torch.sigmoid(self.gate(k, t, processes, inside, back)) for k in (0, 1))
        new = processes[2].step(t, self.layer.inner[2] * inside) + self.outside
        old = processes[3].step(t, self.layer.outer[2] * back) + self.biases[2]
        return (1 - update) * torch.tanh(new + reset * old) + update * before


class _Lstm(_Cell):
    def __init__(self, layer: _Layer, biases: Tensor, outside: Tensor) -> None:
        super().__init__(layer, biases, outside)
        self.state: Any = 0.0

    def step(self, t: int, processes: list[_Process], inside: Tensor, back: Tensor, before: Tensor) -> Tensor:
        seen = [self.gate(k, t, processes, inside, back) for k in range(4)]
        self.state = torch.sigmoid(seen[1]) * self.state + torch.sigmoid(seen[0]) * torch.tanh(seen[2])
        return torch.sigmoid(seen[3]) * torch.tanh(self.state)


_CELLS: dict[str, Any] = {"rnn_tanh": _Plain, "rnn_relu": _Rectified, "gru": _Gru, "lstm": _Lstm}


def _rule(found: tuple[Tensor, Tensor], x: Tensor, batch_first: bool, ancestors: dict[int, int], states: int) -> Rule:
    table, mean = found
    ids = torch.arange(mean.numel(), device=x.device).reshape(*mean.shape, 1)
    pairs = Pairs(table, ids if batch_first else ids.transpose(0, 1))
    out = Signal(pairs.back(mean), pairs.second, ancestors=ancestors, pairs=Lazy(lambda: pairs))
    return Rule((), (out, *[None] * states), None, -1, "weight")
