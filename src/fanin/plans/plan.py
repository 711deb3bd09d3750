"""Plan: one step for every stored tensor of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fanin.errors import PlanError, UnknownNameError
from fanin.initializers import Initializer
from fanin.plans.defects import defects
from fanin.plans.diff import PlanDiff, diff
from fanin.plans.explain import explained
from fanin.plans.json_form import checked, field_of, parsed, step_from_dict, step_to_dict
from fanin.plans.markdown import plan_markdown
from fanin.plans.page import write_plan_page
from fanin.plans.steps import Draw, Step, Unknown
from fanin.plans.text import plan_table
from fanin.random import STREAM_VERSION

PLAN_VERSION = 1


@dataclass(frozen=True)
class Plan(Mapping[str, Step]):
    """Where the values of every parameter and buffer come from, decided; executing it is mechanical.

    A mapping from qualified name (tied names too) to `Step`; iteration visits each stored tensor once.

    Raises:
        PlanError: two steps claim the same name.

    >>> from fanin.initializers import Normal
    >>> step = Step("fc.weight", (4, 3), "float32", "parameter", Draw(Normal(std=0.02)), "as in GPT-2")
    >>> made = Plan((step,), recipe="mine")
    >>> made["fc.weight"].std, Plan.from_json(made.to_json()) == made
    (0.02, True)
    """

    steps: tuple[Step, ...]
    model: str = ""
    recipe: str = ""
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for step in self.steps:
            for name in (step.name, *step.aliases):
                if name in seen:
                    raise PlanError(f"two steps of the plan claim the tensor {name!r}")
                seen.add(name)

    @cached_property
    def _by_name(self) -> dict[str, Step]:
        return {name: step for step in self.steps for name in (step.name, *step.aliases)}

    def __getitem__(self, name: str) -> Step:
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownNameError.among("tensor", name, self._by_name) from None

    def get(self, key: str, default: Any = None) -> Any:
        """The step of a tensor, or `default` where the plan does not have it."""
        return self._by_name.get(key, default)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return (step.name for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Tensors nobody could account for."""
        return tuple(step.name for step in self.steps if isinstance(step.action, Unknown))

    def __str__(self) -> str:
        return f"{self.title or 'plan'}\n{plan_table(self.steps, self.notes)}"

    @property
    def title(self) -> str:
        """The model and the recipe."""
        return " · ".join(filter(None, (self.model, f"recipe {self.recipe}" if self.recipe else "")))

    def to_markdown(self, *, group: bool = True) -> str:
        """The plan as a Markdown table; `group` tells repeated layers as one."""
        return plan_markdown(self.steps, self.notes, self.title, group=group)

    def to_html(self, path: str | Path) -> Path:
        """Write the plan as one HTML file that needs no network, with search and filters.

        Raises:
            WeightsError: the file cannot be written.
        """
        return write_plan_page(self.title, self.steps, self.notes, path)

    def explain(self, name: str) -> str:
        """All that the plan knows about a tensor, in sentences.

        Args:
            name: a qualified name, a pattern of names (`*` and `?` as in shells), or a module's name, which stands for
                all tensors in it; repeated layers are told as one.

        Raises:
            UnknownNameError: no tensor of the plan is called so.
        """
        return explained(self, name)

    def diff(self, other: Plan) -> PlanDiff:
        """What `other` does differently: tensors added, removed and changed, with the ratio of their std.

        Where one of the plans is the authors' own, its notes name the documented mistakes in their code.
        """
        found = diff(self, other)
        native = next((plan for plan in (self, other) if plan.recipe == "native"), None)
        notes = defects(native.model, native.steps) if native is not None and found else ()
        return replace(found, recipes=(self.recipe, other.recipe), notes=notes)

    def override(self, laws: Mapping[str, Initializer], why: str = "set by hand") -> Plan:
        """The plan with other initializers for the named tensors.

        Raises:
            UnknownNameError: a name the plan does not have.
        """
        chosen = {self[name].name: Draw(law) for name, law in laws.items()}
        steps = (
            replace(step, action=chosen[step.name], why=why, source="override") if step.name in chosen else step
            for step in self.steps
        )
        return replace(self, steps=tuple(steps))

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "fanin_plan": PLAN_VERSION,
            "stream": STREAM_VERSION,
            "model": self.model,
            "recipe": self.recipe,
            "notes": list(self.notes),
            "steps": [step_to_dict(step) for step in self.steps],
        }

    def to_json(self, indent: int | None = 1) -> str:
        """The plan as JSON text; `from_json` inverts it exactly."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            PlanError: not JSON, not a plan, or of another plan or stream version.
        """
        data = parsed(text)
        seen = (data.get("fanin_plan"), data.get("stream"))
        if seen != (PLAN_VERSION, STREAM_VERSION):
            raise PlanError(
                f"not a fanin plan of version {PLAN_VERSION}, stream {STREAM_VERSION}: found (plan, stream) = {seen}"
            )
        steps = tuple(step_from_dict(step) for step in field_of(data, "steps", list))
        notes = tuple(checked(note, str, "a note") for note in field_of(data, "notes", list))
        return cls(steps, field_of(data, "model", str), field_of(data, "recipe", str), notes)

    @property
    def hash(self) -> str:
        """BLAKE2b-128 of the plan's JSON, in hex: equal hashes and seeds give equal bits."""
        return blake2b(self.to_json(indent=None).encode(), digest_size=16).hexdigest()
