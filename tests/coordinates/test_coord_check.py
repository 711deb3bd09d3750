"""The coordinate check: flat under muP, steep without it, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

import fanin
from fanin.coordinates.fitting import slope

WIDTHS = (64, 128, 256, 512, 1024)
NARROW = (32, 64, 128, 256)
IMAGES = torch.randn(32, 10, generator=torch.Generator().manual_seed(1))
TOKENS = {"input_ids": torch.randint(64, (1, 8), generator=torch.Generator().manual_seed(3))}


def mlp(width: int) -> nn.Module:
    return fanin.models.mlp((10, width, width, width, 4), "gelu")


def gpt2(width: int, layers: int = 2, *, tied: bool = False, std: float = 0.02) -> nn.Module:
    sizes = {"n_embd": width, "n_layer": layers, "n_head": 2, "vocab_size": 64, "n_positions": 8}
    fields = {"bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": tied, "initializer_range": std}
    return GPT2LMHeadModel(GPT2Config(**sizes, **fields))


def llama(width: int) -> nn.Module:
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 1, "vocab_size": 64}
    return LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=4, num_key_value_heads=2))


def deep(layers: int) -> nn.Module:
    return gpt2(32, layers)


@pytest.mark.parametrize(("optimizer", "lr"), [("adamw", 0.01), ("sgd", 0.3)])
@pytest.mark.parametrize("scheme", ["mup", "spectral"])
def test_an_mlp_is_flat_under_mup(scheme: str, optimizer: str, lr: float) -> None:
    done = fanin.coord_check(
        mlp, WIDTHS, parametrization=scheme, optimizer=optimizer, lr=lr, inputs=IMAGES, seeds=2, steps=3
    )
    assert done.passed, str(done)
    assert abs(done.worst) < 0.1
    assert [layer.name for layer in done.layers] == ["fc1", "fc2", "fc3", "fc4"]


def test_an_mlp_is_steep_in_standard_parametrization() -> None:
    done = fanin.coord_check(mlp, WIDTHS, parametrization=None, lr=0.001, inputs=IMAGES, seeds=2, steps=3)
    assert not done.passed
    for name in ("fc2", "fc3", "fc4"):
        assert all(slope is not None and slope > 0.4 for slope in done[name].slopes), str(done)
    assert abs(done["fc1"].worst or 1) < 0.15  # inputs are as many at any width


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (gpt2, {"zero_readout": True}),
        (llama, {"zero_readout": True}),
        (partial(gpt2, tied=True, std=0.005), {}),
    ],
    ids=["gpt2", "llama", "tied gpt2"],
)
def test_decoders_are_flat_under_mup(build: Callable[[int], nn.Module], options: dict[str, Any]) -> None:
    done = fanin.coord_check(build, NARROW, lr=0.001, inputs=TOKENS, seeds=3, steps=3, options=options)
    assert done.passed, str(done)
    assert done.layers[-1].name == "lm_head"


def test_a_decoder_is_steep_in_standard_parametrization() -> None:
    done = fanin.coord_check(gpt2, NARROW, parametrization=None, lr=0.001, inputs=TOKENS, seeds=2, steps=3)
    hidden = [layer for layer in done.layers if ".attn." in layer.name or ".mlp." in layer.name]
    for layer in (*hidden, done["lm_head"]):
        assert all(slope is not None and slope > 0.4 for slope in layer.slopes), str(done)


@pytest.mark.parametrize("scheme", ["complete-p", "depth-mup"])
def test_depth_is_flat_where_branches_are_scaled(scheme: str) -> None:
    done = fanin.coord_check(deep, depths=(2, 4, 8), parametrization=scheme, lr=0.001, inputs=TOKENS, seeds=2, steps=3)
    assert done.passed, str(done)
    assert abs(done.worst) < 0.1
    assert [layer.name for layer in done.layers][-4:] == [
        "blocks[middle]",
        "blocks[last]",
        "transformer.ln_f",
        "lm_head",
    ]


def test_depth_is_steep_where_they_are_not() -> None:
    done = fanin.coord_check(deep, depths=(2, 4, 8), parametrization=None, lr=0.001, inputs=TOKENS, seeds=2, steps=2)
    assert all(slope is not None and slope > 0.4 for slope in done["blocks[last]"].slopes), str(done)


def test_u_mup_is_flat_inside_and_its_tables_fall_as_the_paper_says() -> None:
    done = fanin.coord_check(gpt2, NARROW, parametrization="u-mup", lr=0.05, inputs=TOKENS, seeds=2, steps=3)
    inside = [layer for layer in done.layers if ".attn." in layer.name or ".mlp." in layer.name]
    assert all(abs(layer.worst or 1) < 0.15 for layer in inside), str(done)
    assert done["transformer.wte"].worst == pytest.approx(-0.5, abs=0.05)


def test_readouts_shrink_at_random_starts_and_not_at_zero() -> None:
    """USERS I3: what the readout shows is told apart from a mistake."""
    run = partial(fanin.coord_check, gpt2, NARROW, lr=0.001, inputs=TOKENS, seeds=3, steps=2)
    at_random, at_zero = run(), run(options={"zero_readout": True})
    assert (at_random["lm_head"].worst or 0) < -0.15
    assert abs(at_zero["lm_head"].worst or 1) < 0.1
    # Nothing below a zero readout has a gradient at the first step.
    assert at_zero["transformer.wte"].slopes[0] is None
    assert at_zero["transformer.wte"].changes[0][0] is None


def test_a_wrong_rate_is_found() -> None:
    """One hidden layer with the rate of standard parametrization."""

    def optimizer(model: nn.Module) -> torch.optim.Optimizer:
        record = fanin.parametrize(model, base=lambda: mlp(64), at_base=True)
        groups = record.parameter_groups(model, 0.001)
        for group in groups:
            group["params"] = [each for each in group["params"] if each is not model.fc2.weight]
        return torch.optim.AdamW([*groups, {"params": [model.fc2.weight]}], lr=0.001)

    done = fanin.coord_check(mlp, WIDTHS, parametrization=None, optimizer=optimizer, inputs=IMAGES, seeds=1, steps=2)
    assert (done["fc2"].worst or 0) > 0.4
    assert "fc2" in [layer.name for layer in done.failing]
    assert abs(done["fc1"].worst or 1) < 0.15


def test_the_same_numbers_again_and_no_trace() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    made: list[nn.Module] = []

    def build(width: int) -> nn.Module:
        made.append(mlp(width))
        return made[-1]

    run = partial(fanin.coord_check, build, (16, 32, 64), parametrization=None, inputs=IMAGES, seeds=1, steps=2)
    first, again = run(), run()
    assert first == again
    dropping = partial(fanin.coord_check, gpt2, (16, 32, 64), inputs=TOKENS, seeds=1, steps=1)
    assert dropping() == dropping()
    assert torch.equal(state, torch.get_rng_state())
    assert not any(module._forward_hooks for model in made for module in model.modules())


def test_the_record_tells_and_draws(tmp_path: Path) -> None:
    done = fanin.coord_check(mlp, (16, 32, 64), parametrization=None, lr=0.01, inputs=IMAGES, seeds=1, steps=5)
    text = str(done)
    assert "slope of log mean |change| against log width" in text
    assert text.splitlines()[-1].startswith("failed: worst slope +")
    assert "grows" in text
    data = json.loads(json.dumps(done.to_dict(), allow_nan=False))
    assert data["passed"] is False
    assert [layer["name"] for layer in data["layers"]] == ["fc1", "fc2", "fc3", "fc4"]
    pytest.importorskip("matplotlib")
    done.plot(tmp_path / "check.png")
    assert (tmp_path / "check.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(fanin.ArgumentError, match=r"plots are written as .png, .svg, .pdf, not as .gif"):
        done.plot(tmp_path / "check.gif")


def test_bad_input() -> None:
    run = partial(fanin.coord_check, mlp, inputs=IMAGES, seeds=1, steps=2)
    with pytest.raises(fanin.ArgumentError, match=r"at least 3 different widths.*got \(32, 64\)"):
        run((32, 64))
    with pytest.raises(fanin.ArgumentError, match="at least 3 different depths"):
        run(depths=(1, 2, 2))
    with pytest.raises(fanin.ArgumentError, match="give widths= or depths=, one of them"):
        run()
    with pytest.raises(fanin.ArgumentError, match="base must be at most the smallest size 16, got 32"):
        run((16, 32, 64), base=32)
    with pytest.raises(fanin.ArgumentError, match=r"at least 3 different widths.*got \(64,\)"):
        run(64)
    with pytest.raises(fanin.UnknownNameError, match=r"unknown optimizer of torch.optim 'adamm'; did you mean 'adam"):
        run((16, 32, 64), optimizer="adamm")
    for other in ("lbfgs", "optimizer"):
        with pytest.raises(fanin.UnknownNameError, match=r"unknown optimizer of torch.optim"):
            run((16, 32, 64), optimizer=other)
    with pytest.raises(fanin.ArgumentError, match=r"optimizer must be a name or class in torch.optim"):
        run((16, 32, 64), optimizer=nn.Linear)
    with pytest.raises(fanin.ArgumentError, match=r"optimizer= must return a torch.optim.Optimizer, got NoneType"):
        run((16, 32, 64), optimizer=lambda model: None)
    with pytest.raises(fanin.UnknownNameError, match="unknown parametrization 'mu'"):
        run((16, 32, 64), parametrization="mu")
    with pytest.raises(fanin.ArgumentError, match="lr must be positive and finite, got 0"):
        run((16, 32, 64), lr=0)
    with pytest.raises(fanin.DataError, match=r"training diverges at width 16, seed 0: the loss is .* smaller lr"):
        run((16, 32, 64), parametrization=None, optimizer="sgd", lr=1e4, steps=4)
    with pytest.raises(fanin.DataError, match="nobody knows what Bare takes as input: give inputs="):
        fanin.coord_check(lambda width: Bare(width), (4, 8, 16), parametrization=None)
    with pytest.raises(fanin.ArgumentError, match=r"build must return a torch.nn.Module, got int"):
        fanin.coord_check(lambda width: width, (4, 8, 16), parametrization=None, inputs=IMAGES)
    with pytest.raises(fanin.ArgumentError, match="build must be a function from a width to a model, got None"):
        fanin.coord_check(None, (4, 8, 16), inputs=IMAGES)  # pyright: ignore[reportArgumentType]
    with pytest.raises(fanin.ArgumentError, match=r"has other layers than the smaller ones: \['fc4'\]"):
        fanin.coord_check(
            lambda n: fanin.models.mlp((10, *[n] * (n // 8), 4)), (16, 24, 32), parametrization=None, inputs=IMAGES
        )


@pytest.mark.parametrize("parametrization", ["mup", None])
def test_a_check_that_cannot_fail_is_refused(parametrization: str | None) -> None:
    """Models that are equally wide, or do not learn, have no slope: that is no pass."""
    run = partial(
        fanin.coord_check, widths=(16, 32, 64), parametrization=parametrization, inputs=IMAGES, seeds=1, steps=1
    )
    with pytest.raises(fanin.ArgumentError, match=r"build\(16\) and build\(32\) make models of the same shapes"):
        run(lambda width: mlp(32))
    with pytest.raises(fanin.DataError, match="no parameter of Sequential requires grad"):
        run(lambda width: mlp(width).requires_grad_(False))


class Bare(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T


def test_slopes_are_exact_on_powers() -> None:
    sizes = (32, 96, 1024)
    assert slope(sizes, [3 * size**-0.7 for size in sizes]) == pytest.approx(-0.7, abs=1e-12)
    assert slope(sizes, (1.0, 0.0, 1.0)) is None
    noisy = [math.log2(size) for size in sizes]
    assert slope(sizes, noisy) == pytest.approx(np.polyfit(np.log(sizes), np.log(noisy), 1)[0], rel=1e-12)
