"""On a GPU: the bits of the CPU, both ways. Skipped where there is none."""

import pytest
import torch
from torch import nn

from fanin.initializers import Constant, Initializer, Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.plans import Plan
from fanin.random import Region, Stream
from fanin.torch.capture import capture
from fanin.torch.device.choice import same_bits, trial
from fanin.torch.device.copies import StreamCopies, copies_to
from fanin.torch.device.host import fill_through_host
from fanin.torch.device.pure import fill_pure, law_for
from fanin.torch.fill import fill
from fanin.torch.materialize import materialize

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
STREAM = Stream.named(5, "w")
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn]
LAWS = [Uniform(-0.3, 1.0), Normal(0.0, 0.02), TruncatedNormal(), TruncatedNormal(0.0, 1.0, 6.0, 9.0, corrected=False)]


def on_cpu(law: Initializer, part: Region, dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.empty(part.size, dtype=dtype)
    fill(tensor, law, STREAM, region=part)
    return tensor.view(torch.uint8)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_both_ways_give_the_bits_of_the_cpu(law, dtype):
    part = Region((3001, 1003), (1, 2), (3000, 1001))
    wanted = on_cpu(law, part, dtype)
    for make in (
        lambda: torch.empty(3000, 1001, dtype=dtype, device="cuda"),
        lambda: torch.empty(1001, 3000, dtype=dtype, device="cuda").T,
    ):
        host, own, chosen = make(), make(), make()
        fill_through_host(host, law, STREAM, part, block_bytes=1 << 20)
        fill_pure(own, law_for(law, dtype), STREAM, part, most=1 << 18)
        fill(chosen, law, STREAM, region=part)
        for tensor in (host, own, chosen):
            assert torch.equal(tensor.cpu().contiguous().view(torch.uint8), wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [Uniform, Normal, TruncatedNormal])
def test_the_device_passes_its_trial(kind, dtype):
    assert same_bits(torch.device("cuda", 0), kind, dtype, 1 << 22)


def test_copies_run_on_a_stream_of_their_own_from_locked_memory():
    copies = copies_to(torch.empty(1, device="cuda"))
    assert isinstance(copies, StreamCopies)
    host, target = copies.memory(1 << 24, torch.float32), torch.zeros(1 << 24, device="cuda")
    assert host.is_pinned()
    host.fill_(3.0)
    target.add_(1.0)  # asked for before the copy, so it must not come after it
    copies_to(target).start(target, host)()
    assert bool((target == 3).all())


@pytest.mark.parametrize("law", [Constant(0.1), Orthogonal()], ids=repr)
def test_laws_that_are_no_draws_of_the_device(law):
    tensor = torch.empty(65, 33, dtype=torch.bfloat16, device="cuda")
    fill(tensor, law, STREAM)
    assert torch.equal(tensor.cpu().view(torch.uint8), on_cpu(law, Region.whole((65, 33)), torch.bfloat16))


def test_a_model_on_the_gpu_is_the_model_on_the_cpu():
    def make() -> nn.Module:
        return nn.Sequential(nn.Embedding(3000, 512), nn.Linear(512, 2048), nn.LayerNorm(2048), nn.LSTM(2048, 64))

    plan: Plan = capture(make).plan
    there = materialize(capture(make).model, plan, seed=3, device="cuda").state_dict()
    here = materialize(capture(make).model, plan, seed=3, device="cpu").state_dict()
    assert all(tensor.device.type == "cuda" and torch.equal(tensor.cpu(), here[name]) for name, tensor in there.items())


def test_the_trial_is_held_once_per_device():
    trial.cache_clear()
    for _ in range(3):
        fill(torch.empty(1 << 21, device="cuda"), Normal(), STREAM)
    assert trial.cache_info().misses == 1
