"""A run that ends early, and tensors that change under it: what is said, and what is left behind."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from fanin.errors import FaninError, HalfWrittenError
from fanin.initializers import Normal, Orthogonal
from fanin.plans import Plan
from fanin.plans.steps import Draw, Keep, Step
from fanin.torch.materialize import materialize, writes
from fanin.torch.materialize.batches import Batch

SIZES = {"first": (3000, 100), "second": (40, 30), "third": (50, 20), "kept": (5,)}
LAWS = {"first": Draw(Normal()), "second": Draw(Orthogonal()), "third": Draw(Orthogonal()), "kept": Keep()}


def net(device="cpu"):
    model = nn.Module()
    for name, shape in SIZES.items():
        model.register_parameter(name, nn.Parameter(torch.full(shape, 7.0, device=device)))
    return model


def plan(**changes):
    actions = LAWS | changes
    return Plan(tuple(Step(name, SIZES[name], "float32", "parameter", actions[name], "") for name in SIZES))


def stop_after(elements, error):
    def progress(done, due):
        if done >= elements:
            raise error

    return progress


def test_a_real_model_left_half_written_says_which_tensors_were():
    model, cause = net(), ValueError("enough")
    with pytest.raises(HalfWrittenError) as caught:
        materialize(model, plan(), progress=stop_after(300_001, cause))
    error = caught.value
    assert error.__cause__ is cause
    assert (error.written, error.unfinished, error.untouched) == (("first", "second"), (), ("third",))
    assert str(error) == (
        "materialize ended early, on ValueError: enough. Of 3 tensors 2 have their new values ('first', 'second'), 1 "
        "are as they were ('third'). Mend the cause and run materialize again with the same plan and seed: the values "
        "do not depend on what is there"
    )
    assert bool((model.third == 7).all())
    assert not bool((model.second == 7).any())
    again, whole = materialize(model, plan()), materialize(net(), plan())
    for name in SIZES:
        assert torch.equal(again.get_parameter(name), whole.get_parameter(name))


def test_a_tensor_of_which_a_part_was_written_is_told_apart(monkeypatch):
    monkeypatch.setattr(writes, "_BATCH", 100_000)
    model = net()
    with pytest.raises(HalfWrittenError) as caught:
        materialize(model, plan(), progress=stop_after(1, OSError("full")))
    assert (caught.value.written, caught.value.unfinished) == ((), ("first",))
    assert "1 may have some ('first'), 2 are as they were ('second', 'third')" in str(caught.value)
    assert 100_000 <= int((model.first != 7).sum()) < 300_000


@pytest.mark.parametrize("when", [1, 300_001, 302_200])
def test_a_meta_model_is_as_it_was_whenever_a_run_ends(when):
    model = net("meta")
    model.kept = nn.Parameter(torch.full((5,), 7.0))
    held = list(model.parameters())
    with pytest.raises(ValueError, match="enough"):
        materialize(model, plan(), progress=stop_after(when, ValueError("enough")))
    assert all(seen is tensor and tensor.is_meta for seen, tensor in zip(model.parameters(), held[:3], strict=False))
    assert model.kept.tolist() == [7.0] * 5
    assert bool(materialize(model, plan()).first.isfinite().all())


def test_an_error_before_the_first_write_is_not_dressed_up(monkeypatch):
    model = net()
    monkeypatch.setattr(Batch, "write", lambda batch, threads: pytest.fail("written"))
    with pytest.raises(FaninError) as caught:
        materialize(model, plan(first=Draw(Normal(0.0, 1e300))))
    assert not isinstance(caught.value, HalfWrittenError)
    assert str(caught.value).startswith("'first' cannot be written: ")
    assert all(bool((tensor == 7).all()) for tensor in model.parameters())


def test_an_interrupt_stays_one_and_tells_the_same():
    model = net()
    with pytest.raises(KeyboardInterrupt) as caught:
        materialize(model, plan(), progress=stop_after(1, KeyboardInterrupt()))
    assert "1 have their new values ('first'), 2 are as they were ('second', 'third')" in caught.value.__notes__[0]
    assert not hasattr(interrupted(net("meta")), "__notes__")


def interrupted(model):
    model.kept = nn.Parameter(torch.zeros(5))
    with pytest.raises(KeyboardInterrupt) as caught:
        materialize(model, plan(), progress=stop_after(1, KeyboardInterrupt()))
    return caught.value


def test_a_law_that_fails_half_way(monkeypatch):
    model = net()

    def broken(*arguments, **options):
        raise MemoryError("no more")

    monkeypatch.setattr(writes, "fill_pieces", broken)
    with pytest.raises(HalfWrittenError, match=r"on MemoryError: no more.*1 have their new values \('first'\), 1 may"):
        materialize(model, plan())


def replaced(tensor):
    tensor.data = torch.zeros(tensor.shape)


def reshaped(tensor):
    tensor.data = tensor.data.view(tensor.shape[::-1])


def transposed(tensor):
    tensor.data = tensor.data.as_strided(tensor.shape, tensor.stride()[::-1])


def freed(tensor):
    tensor.untyped_storage().resize_(0)


def retyped(tensor):
    tensor.data = tensor.data.view(torch.int32)


CHANGES = [(change, name) for change in (replaced, freed, retyped) for name in ("first", "third", "kept")]


@pytest.mark.parametrize(("change", "name"), [*CHANGES, (reshaped, "first"), (transposed, "third")])
def test_a_tensor_that_changes_during_the_run_is_named(change, name):
    """`first` was written before, `third` would come later, `kept` is not written at all."""
    model = net()
    tensor = getattr(model, name)
    tensor.requires_grad_(False)
    before = tensor.data  # so that no new memory gets the same address

    def progress(done, due):
        if done == 300_000:
            change(tensor)

    text = f"'{name}' was changed while materialize ran: it was torch.float32 of shape {SIZES[name]}"
    with pytest.raises(HalfWrittenError, match=re.escape(text)) as caught:
        materialize(model, plan(), progress=progress)
    assert "Let nothing else touch the model meanwhile" in str(caught.value)
    assert ("third" in caught.value.written) == (name != "third")
    del before


def test_a_tensor_replaced_before_the_first_write_is_not_written(monkeypatch):
    model = net()
    original = writes.batched

    def late(*arguments):
        replaced(model.first)
        return original(*arguments)

    monkeypatch.setattr(writes, "batched", late)
    with pytest.raises(FaninError, match="'first' was changed while materialize ran") as caught:
        materialize(model, plan())
    assert not isinstance(caught.value, HalfWrittenError)
    assert bool((model.first == 0).all())
