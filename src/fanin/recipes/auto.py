"""`auto`: every law from the graph alone."""

from __future__ import annotations

from dataclasses import replace
from math import prod, sqrt

from fanin import schemes
from fanin.graph.roles import ROLES
from fanin.initializers import Constant, Initializer, Normal
from fanin.recipes import auto_sine, auto_weights, stream
from fanin.recipes.common import NORMS, padded
from fanin.recipes.convolutional import standard_bias
from fanin.recipes.criticality import Criticality, vanishes
from fanin.recipes.layer_scale import cait_eps
from fanin.recipes.matching import both, contracts, either, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.recurrent import LSTM
from fanin.recipes.rule import Rule
from fanin.recipes.stream import table_std
from fanin.recipes.tensor_info import TensorInfo

ROUTER = 0.1
_CRITICAL = Criticality()


def _zero(_: TensorInfo) -> Initializer:
    return Constant(0.0)


def _table(tensor: TensorInfo) -> Initializer:
    return padded(Normal(std=table_std(tensor, tensor.shape[-1])), tensor)


def _position(tensor: TensorInfo) -> Initializer:
    return padded(Normal(std=stream.position(tensor) * stream.beside_std(tensor, tensor.shape[-1])), tensor)


def _why_table(tensor: TensorInfo) -> str:
    padding = "" if tensor.padding is None else f"; row {tensor.padding} is padding: 0"
    if tensor.tied_head:
        variance = stream.BEHIND_NORM if tensor.head_behind_norm else 1
        return f"{_tied(tensor)} gives logits of variance {variance:g}{padding}"
    return f"a lookup passes its rows on with variance 1{padding}"


def _tied(tensor: TensorInfo) -> str:
    scaled = "" if tensor.head_scale == 1 else f", whose input is multiplied by {tensor.head_scale:.4g}"
    std = f"{table_std(tensor, tensor.shape[-1]):.4g}"
    if tensor.head_scale == 1:
        std = f"√({stream.BEHIND_NORM:g}/{tensor.shape[-1]})" if tensor.head_behind_norm else f"1/√{tensor.shape[-1]}"
    return f"tables are tied to the head{scaled}: {std}"


def _why_position(tensor: TensorInfo) -> str:
    if stream.position(tensor) == 1:
        return "as wide as the tokens it is added to, whose table is no head"
    return "half as wide as what it is added to"


def _is_computed(tensor: TensorInfo) -> bool:
    return tensor.computed


def _branch_scale(tensor: TensorInfo) -> Initializer:
    return Constant(cait_eps(tensor.model_layers) if prod(tensor.shape) > 1 else 0.0)


def _why_branch_scale(tensor: TensorInfo) -> str:
    if prod(tensor.shape) > 1:
        return f"branches start almost shut: {cait_eps(tensor.model_layers):g} for {tensor.model_layers} layers"
    return "one factor per branch, 0: the block passes its input on"


def _sets_rate(tensor: TensorInfo) -> bool:
    return contracts(tensor) and tensor.activation == "softplus" and tensor.place.branch is not None


def _is_narrowed(tensor: TensorInfo) -> bool:
    return stream.narrowed(tensor) < 1


def _ends_branch(tensor: TensorInfo) -> bool:
    return tensor.place.last


AUTO = Recipe(
    "auto",
    (
        Rule(
            has_role("state-space A", "state-space D", "time step"),
            lambda _: None,
            "eigenvalues and time steps of a state space are a design of the authors: their law stays",
            "Gu & Dao 2023, arXiv 2312.00752",
        ),
        Rule(
            _sets_rate,
            lambda _: None,
            "softplus inside a branch makes a time step or a rate: the authors' law stays",
            "Gu & Dao 2023, arXiv 2312.00752",
        ),
        Rule(
            has_role("modulation"),
            _zero,
            "scales, shifts and gates that a condition sets start at 0: the block does not depend on it yet",
            "Peebles & Xie 2023, arXiv 2212.09748 (adaLN-Zero)",
        ),
        Rule(
            has_role("lora B"), _zero, "the adapter adds nothing at the start", "Hu et al. 2021, arXiv 2106.09685, 4.1"
        ),
        Rule(
            has_role("lora A"),
            lambda tensor: schemes.lecun_normal(tensor.contracted),
            lambda tensor: f"variance 1 out of variance 1: fan-in {tensor.contracted.fan_in:g}",
            "Hu et al. 2021, arXiv 2106.09685, 4.1",
        ),
        Rule(
            has_role("router"),
            lambda tensor: schemes.lecun_normal(tensor.contracted, sqrt(ROUTER)),
            f"nearly equal chances for every expert: logits of variance {ROUTER:g}",
            "Fedus, Zoph & Shazeer 2021, arXiv 2101.03961, section 2.4 (scale 0.1)",
        ),
        Rule(
            has_role("layer scale"),
            _branch_scale,
            _why_branch_scale,
            "Touvron et al. 2021, arXiv 2103.17239, section 2; De & Smith 2020, arXiv 2002.10444",
        ),
        Rule(
            both(has_role("norm scale"), stream.ends),
            lambda tensor: Constant(sqrt(stream.share(tensor)) - (tensor.parameter or 0.0)),
            lambda tensor: f"a branch ends in this norm: {sqrt(stream.share(tensor)):.4g}; {stream.why(tensor)}",
            "Hanin & Rolnick 2018, arXiv 1803.01719, section 3.2",
        ),
        *NORMS,
        Rule(
            has_role("relative position"),
            _zero,
            "no distance is preferred at the start",
            "Bao et al. 2021, arXiv 2106.08254 (BEiT), code",
        ),
        Rule(
            both(has_role("position"), _is_computed),
            lambda _: None,
            "positions that the model's code computes, such as sinusoids, stay",
            "Vaswani et al. 2017, arXiv 1706.03762, section 3.5",
        ),
        Rule(
            has_role("position"),
            _position,
            _why_position,
            "Radford et al. 2021, arXiv 2103.00020 (CLIP: tokens 0.02, positions 0.01)",
        ),
        Rule(has_role("embedding", "token"), _table, _why_table),
        *(replace(rule, source=rule.source or LSTM.source) for rule in LSTM.rules),
        Rule(either(auto_sine.before_sine, auto_sine.behind_sines), auto_sine.law, auto_sine.why, auto_sine.SOURCE),
        Rule(
            auto_sine.phase,
            standard_bias,
            "phases as torch starts the biases of a linear layer",
            "Sitzmann et al. 2020, arXiv 2006.09661; vsitzmann/siren",
        ),
        Rule(
            auto_weights.in_pairs,
            auto_weights.law,
            auto_weights.why,
            "Balduzzi et al. 2017, arXiv 1702.08591, section 5 (looks-linear); Xiao et al. 2018, arXiv 1806.05393",
        ),
        Rule(
            both(contracts, vanishes),
            _CRITICAL.weights,
            _CRITICAL.why_weights,
            "Roberts, Yaida & Hanin 2022, arXiv 2106.10165, 5.3.3; Xiao et al. 2018, arXiv 1806.05393",
        ),
        Rule(
            both(contracts, _ends_branch),
            auto_weights.law,
            auto_weights.why,
            "Hanin & Rolnick 2018, arXiv 1803.01719, section 3.2; Radford et al. 2019 (GPT-2)",
        ),
        Rule(
            both(contracts, _is_narrowed),
            auto_weights.law,
            auto_weights.why,
            "Nguyen & Salazar 2019, arXiv 1910.05895, section 2.2 (SmallInit)",
        ),
        Rule(contracts, auto_weights.law, auto_weights.why, "He et al. 2015, arXiv 1502.01852, gains by quadrature"),
        Rule(has_role("bias"), _zero, "a bias starts at 0", "He et al. 2015, arXiv 1502.01852"),
        Rule(
            has_role("slope"),
            lambda _: Constant(0.25),
            "PReLU starts at slope 1/4",
            "He et al. 2015, arXiv 1502.01852",
        ),
        Rule(
            has_role(*ROLES),
            lambda _: None,
            lambda tensor: f"nothing tells how wide {_article(tensor.role)} should be: the authors' law stays",
        ),
    ),
    title="from the graph alone: gains of what comes before and behind, true fans, shares of branches",
    source="second moments kept as in He et al. 2015 (arXiv 1502.01852), branches as in Radford et al. 2019",
    version=3,
)


def _article(role: str) -> str:
    noun = "a tensor of unknown role" if role == "unknown" else f"{'an' if role[0] in 'aeiou' else 'a'} {role}"
    return noun if role != "packed" else "a packed tensor"
