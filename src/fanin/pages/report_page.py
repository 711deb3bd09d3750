"""A report or a plan as one HTML file: everything in it, nothing fetched, nothing that a name could run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fanin.pages import assets
from fanin.pages.findings import findings_html
from fanin.pages.frame import Part, page
from fanin.pages.header import plan_header, report_header
from fanin.pages.payload import payload
from fanin.pages.plan_rows import PlanRow

Data = Mapping[str, Any]


def report_page(data: Data, before: Data | None = None) -> str:
    """The page of a check or an audit.

    Its Content-Security-Policy forbids every request and every script but the page's own, by their hashes.

    Args:
        data: `Report.to_dict()`, its "plan" as rows (`fanin.plans.page.plan_rows`) or None.
        before: the same of an earlier run; the page then shows what changed.
    """
    earlier = None if before is None else list(before.get("findings") or [])
    findings = list(data.get("findings") or [])
    drawn = payload(data, before)
    told = Part("findings", "Findings", "", findings_html(findings, earlier), len(findings))
    title = f"{data.get('model') or 'model'}: {data['verdict']} · fanin {data.get('kind') or 'check'}"
    return page(title, report_header(data, before), [told, *_drawn(drawn)], drawn, data.get("fanin"), assets.scripts())


def plan_page(title: str, rows: Sequence[PlanRow], notes: Sequence[str] = (), version: str | None = None) -> str:
    """The page of a plan alone.

    Args:
        title: the model and the recipe.
        rows: `fanin.plans.page.plan_rows`.
        notes: of the plan.
        version: of fanin.
    """
    data = payload({"plan": list(rows)})
    name, header = f"{title or 'plan'} · fanin plan", plan_header(title, rows, notes)
    return page(name, header, _drawn(data), data, version, assets.scripts())


_SIGNAL = "What leaves each layer and what comes back to it, through depth, beside what theory predicts."
_LAYERS = "In the order of the forward pass, folded by module."
_PARAMETERS = "What the parameters hold, and what the backward pass would change."
_PLAN = "Where the values of every tensor come from, and why."


def _drawn(data: Mapping[str, Any]) -> list[Part]:
    """The sections that the script fills, where there is something to fill them with."""
    layers, parameters, plan = data["layers"], data["parameters"], data["plan"]
    parts = [Part("signal", "Signal", _SIGNAL), Part("layers", "Layers", _LAYERS, "", len(layers))] if layers else []
    parts += [Part("parameters", "Parameters", _PARAMETERS, "", len(parameters))] if parameters else []
    return parts + ([Part("plan", "Plan", _PLAN, "", len(plan))] if plan is not None else [])
