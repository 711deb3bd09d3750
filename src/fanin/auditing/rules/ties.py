"""Tensors that should be one and are two, or are one and should be two."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fanin.auditing.records import Scene, Seen
from fanin.auditing.rules.remedies import replan
from fanin.checking import Finding


def ties(scene: Scene) -> Iterator[Finding]:
    """The config's tied embeddings, and the tied names of the plan, against the memory that there is."""
    for first, second in scene.ties:
        table, head = scene.named(first), scene.named(second)
        if table is not None and head is not None and table is not head:
            yield _broken(table, head, second, "the config ties the two (tie_word_embeddings)")
    for first, second in scene.untied:
        table = scene.named(first)
        if table is not None and table is scene.named(second):
            yield Finding(
                "ties",
                "warning",
                table.name,
                f"{first} and {second} are one tensor",
                "two tensors: the config says tie_word_embeddings=False",
                "they were assigned to each other after the constructor, or the config was changed",
                f"{_module(second)}.weight = torch.nn.Parameter({_module(second)}.weight.detach().clone())",
            )
    yield from _planned(scene)


def _planned(scene: Scene) -> Iterator[Finding]:
    for step in scene.plan.steps if scene.plan is not None and scene.source != "plan" else ():
        first = scene.named(step.name)
        for alias in step.aliases if first is not None else ():
            second = scene.named(alias)
            if first is not None and second is not None and second is not first:
                yield _broken(first, second, alias, "the plan has them as one tensor")
    for seen in scene.tensors:
        for alias in seen.aliases:
            if scene.plan is not None and alias in scene.plan and scene.plan[alias].name != scene.plan[seen.name].name:
                yield Finding(
                    "ties",
                    "warning",
                    seen.name,
                    f"{seen.name} and {alias} are one tensor",
                    "two tensors with a step each in the plan",
                    "the model ties what the plan draws twice: the second draw overwrites the first",
                    replan(scene.plan.recipe),
                )


def _broken(table: Seen, head: Seen, name: str, why: str) -> Finding:
    same = table.shape == head.shape and table.load is not None and head.load is not None
    equal = same and torch.equal(table.load(), head.load())  # pyright: ignore[reportOptionalCall]
    return Finding(
        "ties",
        "warning" if equal else "error",
        name,
        f"{'the values of' if equal else 'other values than'} {table.name}, in memory of its own",
        f"the same tensor as {table.name}: {why}",
        "the tie was lost when one of the two was replaced, loaded, moved or sharded alone; they train apart",
        f"{_module(name)}.{name.rpartition('.')[2]} = {_module(table.name)}.{table.name.rpartition('.')[2]}",
    )


def _module(name: str) -> str:
    return f'model.get_submodule("{name.rpartition(".")[0]}")'
