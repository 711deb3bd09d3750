"""Vocabularies and heads of models that are sharded over all ranks; each function runs on every rank at once."""

from __future__ import annotations

from typing import Any

import rank_jobs
import rank_models
import torch
import torch.distributed as dist
from rank_faults import attempt, is_bad
from rank_pool import Outcome
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

import fanin
from fanin.torch.sharded.fully_sharded import groups_of

NEW = {"<bot>": [3], "<user>": [5, 7], "<tool>": [28], "<end>": [2, 2, 9]}


class Words(nn.Module):
    """A table, a body, and a head with a bias, whose vocabulary is not tied."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.body, self.head = nn.Embedding(31, 8), nn.Linear(8, 8), nn.Linear(8, 31)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.body(self.tokens(ids))))


def whole(kind: str, dtype: str = "float32") -> nn.Module:
    """A model with values, the same on every rank."""
    make = Words if kind == "words" else rank_models.MODELS[kind]
    model = make().eval()
    fanin.materialize(model, fanin.plan(make), seed=4)
    return model.to(getattr(torch, dtype))


def shard(model: nn.Module, how: str) -> nn.Module:
    """`model` under an engine of rank_models, or its parameters as DTensors: "0" sharded along dimension 0, "-" copied,
    "01" along 0 by the first dimension of a mesh and along 1 by the second."""
    world = dist.get_world_size()
    if how == "plain":
        return model
    if how == "fsdp columns":
        mesh = init_device_mesh("cpu", (world,))
        return fully_shard(model, mesh=mesh, shard_placement_fn=lambda each: Shard(each.dim() - 1))
    if how == "tp":
        return parallel(model, init_device_mesh("cpu", (world,)))
    if how == "tp fsdp":
        mesh = init_device_mesh("cpu", (world // 2, 2), mesh_dim_names=("dp", "tp"))
        return fully_shard(parallel(model, mesh["tp"]), mesh=mesh["dp"])
    if not set(how) <= set("01-"):
        return rank_models.shard(model, how, world)
    mesh = init_device_mesh("cpu", (world,) if len(how) == 1 else (2, world // 2))
    for module in model.modules():
        for key, each in list(module.named_parameters(recurse=False)):
            dims = [None if dim == "-" or int(dim) >= each.dim() else int(dim) for dim in how]
            placements = [Replicate() if dim is None else Shard(dim) for dim in dims]
            module.register_parameter(key, nn.Parameter(distribute_tensor(each.detach(), mesh, placements)))
    return model


def parallel(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Words with its vocabulary cut over the ranks, as torch's tensor parallelism does."""
    table = RowwiseParallel(input_layouts=Replicate())
    head = ColwiseParallel(output_layouts=Replicate())
    return parallelize_module(model, mesh, {"tokens": table, "head": head})


def step(model: nn.Module, *, last: int = 32) -> float:
    """The loss before a step of SGD on ids 0 to `last`, the same data on every rank."""
    ids = torch.arange(last + 1)[None]
    out = model(ids, **({"use_cache": False} if hasattr(model, "config") else {}))
    logits = getattr(out, "logits", out)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids.flatten())
    loss.backward()
    torch.optim.SGD(model.parameters(), lr=0.5, foreach=False).step()
    return loss.item()


def extended(
    kind: str, how: str, method: str, multiple: int | None, steps: tuple[int, int], dtype: str = "float32"
) -> tuple[dict[str, str], dict[str, Any], list[float], dict[str, str]]:
    """Hashes of a model with new tokens, the record, the losses of steps before and after, and hashes at the end.

    Gradients of the steps before stay, and are added to.
    """
    model = shard(whole(kind, dtype), how)
    losses = [step(model, last=15) for _ in range(steps[0])]
    made = extend(model, kind, method, multiple)
    hashes = rank_jobs.hashes(model)
    losses += [step(model, last=15) for _ in range(steps[1])]
    return hashes, made, losses, rank_jobs.hashes(model)


def all_extended(cases: list[tuple[Any, ...]]) -> list[Any]:
    """`extended` of each case."""
    return [extended(*case) for case in cases]


def extend(model: nn.Module, kind: str, method: str, multiple: int | None = None) -> dict[str, Any]:
    """Four new tokens; the record."""
    tokens: Any = {"copy": {name: ids[0] for name, ids in NEW.items()}, "subtoken": NEW}.get(method, list(NEW))
    trained = 29 if kind == "words" else None
    options: Any = {"scale": 0.1, "seed": 9, "trained": trained, "pad_to_multiple_of": multiple}
    return fanin.extend_vocabulary(model, tokens, method=method, **options).to_dict()


def sharded_afterwards(method: str) -> tuple[dict[str, str], list[float]]:
    """Tensor parallelism first, then new tokens, then fully_shard: hashes, and the losses of two steps."""
    mesh = init_device_mesh("cpu", (dist.get_world_size() // 2, 2), mesh_dim_names=("dp", "tp"))
    model = parallel(whole("words"), mesh["tp"])
    extend(model, "words", method)
    fully_shard(model, mesh=mesh["dp"])
    return rank_jobs.hashes(model), [step(model, last=15) for _ in range(2)]


def headed(how: str, init: str) -> tuple[dict[str, str], dict[str, Any], list[float]]:
    """Hashes of a model with a head of 20 outputs instead of 31, the record, and the losses of steps around."""
    model = shard(whole("words"), how)
    losses = [step(model, last=15)]
    done = fanin.new_head(model, 20, init=init, prior=list(range(1, 21)), seed=5)
    hashes = rank_jobs.hashes(model)
    return hashes, done.to_dict(), losses + [step(model, last=15) for _ in range(2)]


class Masked(Words):
    """Something beside the head has the vocabulary's size, and nothing tells."""

    def __init__(self, used: bool = True) -> None:
        super().__init__()
        self.register_buffer("allowed", torch.ones(31))
        self.used = used

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return super().forward(ids) + self.allowed if self.used else super().forward(ids)


def taken_back(on_all: bool) -> tuple[Outcome, bool, list[float], list[float]]:
    """An extension that fails on one rank or on all once tables are in the model: whether sizes are back, and losses
    with it and without."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    models = [fully_shard(_masked(on_all or is_bad()), mesh=mesh) for _ in range(2)]
    losses = [[step(model, last=15)] for model in models]
    failed = attempt(models[0], lambda: fanin.extend_vocabulary(models[0], 5))
    sizes = (models[0].tokens.num_embeddings, models[0].head.out_features) == (31, 31)
    for model, seen in zip(models, losses, strict=True):
        seen.append(step(model, last=15))
    return failed, sizes, *losses


def _masked(used: bool) -> nn.Module:
    model = Masked(used)
    fanin.materialize(model, fanin.plan(Masked), seed=4)
    return model


def asked_otherwise(options: dict[str, Any]) -> Outcome:
    """One rank passes other arguments."""
    model = shard(whole("words"), "fsdp")
    return attempt(model, lambda: fanin.extend_vocabulary(model, **({"tokens": 5} | (options if is_bad() else {}))))


def one_copy_is_broken() -> Outcome:
    """NaN in the copy that one rank has of a table."""
    model = shard(whole("words"), "-")
    if is_bad():
        with torch.no_grad():
            model.head.weight.to_local()[3, 2] = float("nan")
    return attempt(model, lambda: fanin.extend_vocabulary(model, 5))


def waiting_gradients() -> tuple[Outcome, list[str], tuple[int, ...]]:
    """Gradients that are not reduced yet; and, once they are, what the table is before and after new tokens."""
    model = shard(whole("words"), "fsdp")
    ids = torch.arange(16)[None]
    model.set_requires_gradient_sync(False)
    model(ids).sum().backward()
    outcome = attempt(model, lambda: fanin.extend_vocabulary(model, 5))
    model.set_requires_gradient_sync(True)
    step(model, last=15)
    model(ids)  # leaves the parameters gathered
    kinds = [type(model.tokens.weight.data).__name__]
    fanin.extend_vocabulary(model, 5)
    kinds.append(type(model.tokens.weight.data).__name__)
    step(model)
    model.reshard()
    return outcome, kinds, tuple(model.tokens.weight.shape)


def uneven_columns() -> Outcome:
    """Rows that FSDP2 cannot cut evenly along another dimension than the first."""
    model = nn.Sequential(nn.Embedding(32, 8), Transposed(8, 32))
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model, mesh=mesh, shard_placement_fn=lambda each: Shard(each.dim() - 1))
    return attempt(model, lambda: fanin.extend_vocabulary(model, 5))


class Transposed(nn.Module):
    """A linear layer whose weight is [in, out]."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


def bias_for_a_sharded_head() -> Outcome:
    """GPT-2's head for classes has no bias."""
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(n_layer=1, n_embd=24, n_head=3, vocab_size=31, n_positions=16, pad_token_id=0)
    model = fully_shard(GPT2ForSequenceClassification(config), mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    return attempt(model, lambda: fanin.new_head(model, 3, prior=[1, 2, 1]))


def gradients(how: str) -> dict[str, Any]:
    """The gradients that a model has after new tokens, as lists, sharded as their parameters are."""
    model, ids = whole("words"), torch.arange(16)[None]
    if how != "summands":
        model = shard(model, how)
    nn.functional.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    if how == "summands":  # as copies get them from parts of a batch
        world, grads = dist.get_world_size(), [each.grad / dist.get_world_size() for each in model.parameters()]
        model = shard(model, "-")
        for each, grad in zip(model.parameters(), grads, strict=True):
            each.grad = DTensor.from_local(grad, init_device_mesh("cpu", (world,)), [Partial()])
    extend(model, "words", "mean")
    found = {name: each.grad for name, each in model.named_parameters() if not name.startswith("body.")}
    if how != "plain":
        assert all(
            found[name].placements == each.placements and found[name].to_local().shape == each.to_local().shape
            for name, each in model.named_parameters()
            if name in found and isinstance(each, DTensor)
        )
    return {name: (each.full_tensor() if isinstance(each, DTensor) else each).tolist() for name, each in found.items()}


def another_torch() -> Outcome:
    """FSDP2's records lack what fanin looks for."""
    model = shard(whole("words"), "fsdp")
    for group in groups_of(model):
        for record in group.fsdp_params:
            del record._unsharded_dtensor_spec
    return attempt(model, lambda: fanin.extend_vocabulary(model, 5))
