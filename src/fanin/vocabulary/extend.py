"""extend_vocabulary: rows for new tokens in every table of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.graph import Graph
from fanin.torch.agreement import Team
from fanin.torch.native import Native, native
from fanin.torch.resizable import check_resizable, refuse_whole
from fanin.torch.resizing import Resizing
from fanin.torch.same_pass import check_same_pass
from fanin.torch.sharded import fully_sharded
from fanin.torch.trace import trace
from fanin.vocabulary.consequences import kl_bound, notes
from fanin.vocabulary.growing import Grown, grown
from fanin.vocabulary.record import Extension
from fanin.vocabulary.request import Method, Request, check_arguments, read_request
from fanin.vocabulary.tables import Table
from fanin.vocabulary.tables import tables as tables_of
from fanin.vocabulary.tokens import New


def extend_vocabulary(
    model: nn.Module,
    tokens: New | None = None,
    *,
    size: int | None = None,
    method: Method = "mean",
    tokenizer: Any = None,
    trained: int | Sequence[int] | torch.Tensor | None = None,
    pad_to_multiple_of: int | None = None,
    scale: float = 1e-5,
    seed: int = 0,
    tables: Sequence[str] | None = None,
    inputs: Any = None,
) -> Extension:
    """Give a model rows for new tokens: in the table that it looks tokens up in, in its head, tied or not, in further
    tables and in the head's bias; and tell its modules and configs the new size.

    New ids follow the trained ones. Where the table has rows beyond these (a vocabulary padded to a round size), new
    tokens take them first. All old values stay as they are. Parameters stay the objects they are; what an optimizer
    keeps for them has the old shape, so make the optimizer afterwards. Nothing is changed if an error is raised.

    A sharded table stays a DTensor of its mesh and placements, under `fully_shard` too, before the first forward pass
    or after many. Each rank brings one table together at a time, computes what one process would, and keeps its part:
    the same bits. All ranks succeed, or all raise and no model is changed.

    Methods, each for every table by itself, in float64 and rounded once to the table's dtype:

    - "mean": e = μ, the mean of the trained rows. A head then gives each new token the mean logit, and as
      exp(mean) ≤ mean(exp), k new rows move the prediction by KL(old ‖ new) ≤ ln(1 + k/T) on any old text, T being
      the number of trained rows (Hewitt 2021). With the mean of the head's bias this holds for heads with one.
    - "mean-cov": e ~ N(μ, scale · Σ), Σ = (E − μ)ᵀ(E − μ)/T, drawn as μ + √(scale/T) · (E − μ)ᵀz with z of T standard
      normal numbers. No factor of Σ is needed, so T may be smaller than the width. The default scale is Hewitt's
      1e-5: rows differ by 0.3 % of the rows' own spread. transformers takes 1e-9, which most dtypes round to the mean.
    - "subtoken": e = the mean of the rows of the old tokens that the new string was cut into.
    - "copy": e = the row of one old token.
    - "normal": e from the law of the model's own code, as if the table were new. Such logits are near 0, where a
      trained model's are mostly far below, so that new tokens may take most of the probability.

    Args:
        model: real, on any device, sharded or not (DTensor, FSDP2: every rank calls this); not quantised.
        tokens: how many; their strings; or for each string the old id, ids or text that it is made of.
        size: instead of tokens: how many the vocabulary shall have, as len(tokenizer) where they are added already.
        method: as above.
        tokenizer: of transformers or tokenizers, as it was before tokens are added; it cuts strings into old tokens,
            and its length tells which rows are trained.
        trained: the rows that hold trained tokens: how many (the first ones), a mask, or their numbers; by default
            as many as the tokenizer has, or all.
        pad_to_multiple_of: round the number of rows up to a multiple; rows that this adds hold the mean.
        scale: of "mean-cov".
        seed: of "mean-cov" and "normal", 0 to 2⁶⁴ − 1; a new token's row depends on no later one.
        tables: the names of the lookup tables that are meant, where a model has several.
        inputs: what to trace the model with, as `fanin.plan` takes it; made up where None.

    Raises:
        ArgumentError: an argument that cannot mean anything, or no table to be found.
        UnknownNameError: no such table.
        DataError: a table that holds NaN or infinity.
        PlanError: a table that is quantised or without values; a model under FSDP1, ZeRO-3 or
            DistributedDataParallel, whose sizes are fixed, or whose forward pass fails with the new ones; an own law
            that is not known; another rank failed, or was asked for something else.
        TraceError: the forward pass fails on `inputs`.

    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models" (a post; its 1e-5 as in the
    many programs that took its code). "subtoken": Gee et al. 2022, Fast Vocabulary Transfer (arXiv 2402.09977),
    `fvt/fvt.py` in LeonidasY/fast-vocabulary-transfer, which cuts new tokens without their mark of a word's start.

    >>> model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50))
    >>> done = extend_vocabulary(model, 5)
    >>> model[1].out_features, [table.name for table in done.tables], round(done.kl_bound, 4)
    (55, ['0.weight', '1.weight', '1.bias'], 0.0953)
    >>> bool(torch.allclose(model[0].weight[50], model[0].weight[:50].mean(0)))
    True
    """
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"extend_vocabulary changes a module, got {type(model).__name__}")
    refuse_whole(model)
    fully_sharded.reshard(model)
    team = Team.of(model)

    def prepare() -> _Prepared:
        check_arguments(tokens, size, method, pad_to_multiple_of, scale, seed)
        source = native(model)
        graph = trace(model, inputs, source.plan)
        found = tables_of(model, graph, tables)
        for table in found:
            check_resizable(model, table.name, table.stored.tensor)
        request = read_request(tokens, size, method, tokenizer, trained, pad_to_multiple_of, scale, seed, found[0].rows)
        return _Prepared(source, graph, found, request)

    ready = team.agreed_request(prepare, model, seed, _Prepared.lines)
    request = ready.request
    with torch.no_grad():
        made = [grown(model, table, request, ready.source.plan, team) for table in ready.found]
        with Resizing(model) as resizing:
            sizes = team.decided(lambda: _changed(model, resizing, made, ready, inputs))
    return Extension(
        model=type(ready.source.model).__name__,
        method=method,
        seed=seed,
        ids=tuple(range(request.first, request.first + len(request.tokens))),
        tokens=request.tokens.names,
        before=request.before,
        after=request.after,
        trained=len(request.trained),
        padding=request.padding,
        kl_bound=kl_bound(ready.found, request),
        tables=tuple(each.change for each in made),
        sizes=sizes,
        notes=tuple(notes(ready.found, request, frozenset(ready.graph.unreached), made[0].equal)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """What is to be done, checked as far as it can be without looking at values."""

    source: Native
    graph: Graph
    found: Sequence[Table]
    request: Request

    def lines(self) -> Sequence[str]:
        """What all ranks must have in common."""
        told = (
            f"{each.name} ({each.kind}) along {each.dim}, {'no' if each.stored.tensor.grad is None else 'a'} gradient"
            for each in self.found
        )
        return (*told, *self.request.lines())


def _changed(
    model: nn.Module, resizing: Resizing, made: Sequence[Grown], ready: _Prepared, inputs: Any
) -> tuple[str, ...]:
    """Put the tables into the model; says which numbers changed with them."""
    before, after = {each.table.rows for each in made}, ready.request.after
    for each in made:
        resizing.tensor(each.table.stored.tensor, each.values, each.table.dim, each.grads)
    sizes = tuple(dict.fromkeys(resizing.numbers(lambda key: "vocab" in key, before, after)))
    if after != ready.request.before:
        check_same_pass(model, ready.graph, inputs, ready.source.plan)
    return sizes
