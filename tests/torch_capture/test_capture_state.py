"""capture leaves the world as it was, allocates nothing, and says clearly what it cannot do."""

from __future__ import annotations

import random
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from fanin.errors import CaptureError
from fanin.torch.capture import capture


class Restless(nn.Module):
    """Disturbs every global state there is."""

    def __init__(self, fails=False):
        super().__init__()
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        self.w = nn.Parameter(torch.randn(3, 4))
        if fails:
            raise ValueError("wrong width 3")


def global_state():
    return (
        torch.get_rng_state().tolist(),
        random.getstate(),
        [str(part) for part in np.random.get_state()],
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_default_device(),
    )


def test_global_state_is_as_before():
    before = global_state()
    captured = capture(Restless)
    assert captured.plan["w"].dtype == "float64"
    assert global_state() == before
    capture(lambda: nn.Sequential(nn.Linear(3, 4), nn.Dropout(), nn.LSTM(3, 4)))
    assert global_state() == before


def test_a_failing_constructor_passes_its_own_error_on_with_a_note():
    before = global_state()
    with pytest.raises(ValueError, match="wrong width 3") as caught:
        capture(lambda: Restless(fails=True))
    assert caught.value.__notes__ == ["This came up while fanin captured the constructor (it ran under fake tensors)."]
    assert global_state() == before
    assert type(torch.zeros(2)) is torch.Tensor


def test_no_mode_outlives_the_call():
    capture(lambda: nn.Linear(2, 2))
    assert type(nn.Linear(2, 2).weight) is nn.Parameter
    assert float(torch.ones(3).sum()) == 3.0


def test_a_default_device_does_not_reach_the_constructor():
    with torch.device("meta"):
        plan = capture(lambda: nn.Embedding(4, 5, padding_idx=0)).plan
    assert "with [0:1, 0:5] = Constant(value=0" in plan["weight"].initializer.describe()


def test_inference_mode_and_no_grad_change_nothing():
    plain = capture(lambda: nn.LSTM(3, 4)).plan
    with torch.no_grad():
        assert capture(lambda: nn.LSTM(3, 4)).plan == plain


def test_the_same_constructor_gives_the_same_plan():
    make = lambda: BertModel(BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2))  # noqa: E731
    assert capture(make).plan.hash == capture(make).plan.hash


def test_values_do_not_depend_on_chance_of_before():
    torch.manual_seed(1)
    first = capture(lambda: nn.Linear(3, 4)).plan
    torch.manual_seed(2)
    assert capture(lambda: nn.Linear(3, 4)).plan == first


def test_questions_without_chance_are_answered_truly():
    widths = torch.tensor([3, 4, 5])

    def factory():
        rates = torch.linspace(0, 0.5, 6).tolist()
        chosen = torch.arange(10)[torch.arange(10) % 3 == 0]
        size = int(torch.nonzero(chosen > 3).numel())
        assert bool(torch.equal(chosen, torch.tensor([0, 3, 6, 9])))
        model = nn.Sequential(nn.Linear(size, int(widths[1])), nn.Dropout(rates[2]))
        model.register_buffer("picked", chosen)
        return model

    captured = capture(factory)
    assert captured.plan["0.weight"].shape == (4, 2)
    assert captured.model[1].p == pytest.approx(0.2)


def test_a_factory_that_returns_no_module_is_refused():
    with pytest.raises(CaptureError, match=r"returns an nn\.Module; this one returned int"):
        capture(lambda: 3)


MEMORY = """
from pathlib import Path
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from fanin.torch.capture import capture
capture(lambda: torch.nn.Linear(2, 2))
def peak_kib():
    # getrusage would also count the parent process, from before the exec
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
before = peak_kib()
config = LlamaConfig(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
                     num_key_value_heads=8, vocab_size=128256)
captured = capture(lambda: LlamaForCausalLM(config))
peak = peak_kib()
elements = sum(parameter.numel() for parameter in captured.model.parameters())
print(elements, len(captured.plan.unknown), peak - before, peak)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_an_8b_model_is_captured_without_its_memory():
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(MEMORY)], capture_output=True, text=True, check=True)
    elements, unknown, grown, peak = map(int, done.stdout.split())
    assert elements == 8_030_261_248
    assert unknown == 0
    assert grown < 100_000  # KiB
    assert peak < 1_000_000
