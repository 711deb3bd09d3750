"""The plan itself: steps that nobody knows, rules that matched nothing, tensors it does not have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fanin.auditing.planned import is_unknown
from fanin.auditing.records import Scene
from fanin.auditing.rules.remedies import override, replan
from fanin.checking import Finding, Severity

_DEAD = re.compile(
    r"^(?:the rule for (?P<key>.+) of the recipe .* matches no tensor|NO RULE of the recipe (?P<recipe>\S+))"
)


def unwritten(scene: Scene) -> Iterator[Finding]:
    """Tensors without values for which nobody can say where they come from."""
    for seen in scene.tensors:
        if seen.numbers is None and not seen.unsound and is_unknown(seen.law) and seen.law is not None:
            yield Finding(
                "unwritten",
                "error",
                seen.name,
                f"no values, and no step that writes them: {seen.law.why}",
                "a law, a file or a computation for each tensor",
                "the constructor allocates it (torch.empty) and no code ever writes it",
                override(seen, "Normal(std=0.02)"),
            )


def dead_rules(scene: Scene) -> Iterator[Finding]:
    """Rules of the plan's recipe that matched no tensor."""
    for note in scene.plan.notes if scene.plan is not None else ():
        found = _DEAD.match(note)
        if found is None:
            continue
        key = found["key"]
        yield Finding(
            "dead-rule",
            "warning",
            (key or found["recipe"]).strip("'"),
            note,
            "every rule written for a name or a role matches a tensor",
            "the tensor was renamed, or the name is misspelt: the tensor that was meant has another rule's values",
            'print(*plan, sep="\\n")',
        )


def shapes(scene: Scene) -> Iterator[Finding]:
    """Tensors that only one of plan and model has, or with another shape."""
    if scene.plan is None or scene.source == "plan":
        return
    recipe = scene.plan.recipe
    known = {name for seen in scene.tensors for name in (seen.name, *seen.aliases)}
    for step in scene.plan.steps:
        if scene.source == "file" and not step.persistent:
            continue
        if not known.intersection((step.name, *step.aliases)):
            yield _odd(step.name, f"the plan has it, the {scene.source} has not", "warning", recipe)
    for seen in scene.tensors:
        if seen.planned is None and not any(alias in scene.plan for alias in seen.aliases):
            yield _odd(seen.name, f"the {scene.source} has it, the plan has not", "warning", recipe)
        elif seen.planned is not None and seen.planned.shape != seen.shape and not seen.unsound and seen.size:
            yield _odd(seen.name, f"shape {seen.shape}, planned {seen.planned.shape}", "error", recipe)


def _odd(name: str, told: str, severity: Severity, recipe: str) -> Finding:
    return Finding(
        "unplanned",
        severity,
        name,
        told,
        "one step for each tensor, of its shape",
        "the plan was made for another model, or the model was changed after it",
        replan(recipe),
    )
