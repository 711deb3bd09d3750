"""The findings as HTML, errors first; the same finding at many tensors is told once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanin.pages.escaping import text
from fanin.pages.health import SEVERITIES, sign

Finding = Mapping[str, Any]
_APART = 3  # as many tensors of one finding are told one by one


@dataclass(frozen=True, slots=True)
class Told:
    """Findings that are told as one: of one rule, severity and cause.

    Attributes:
        members: the findings, at least one.
        new: whether none of them was there before; False where nothing was before.
    """

    members: tuple[Finding, ...]
    new: bool


def findings_html(findings: Sequence[Finding], before: Sequence[Finding] | None = None) -> str:
    """All findings as articles, then those that were `before` and are gone.

    Args:
        findings: of the report.
        before: of an earlier report of the model; None for none.
    """
    earlier = None if before is None else {key(each) for each in before}
    told = [_article(each) for each in grouped(findings, earlier)]
    nothing = f'<p class="card nothing"><span class="health healthy">{_sign("healthy")} Nothing to report.</span></p>'
    gone = _mended(findings, before or ())
    return f'<div class="findings">\n{"".join(told) or nothing}{gone}</div>'


def key(finding: Finding) -> tuple[str, str]:
    """What makes a finding the same in two reports: its rule and its tensor."""
    return finding.get("rule") or finding["cause"], finding["tensor"]


def grouped(findings: Iterable[Finding], earlier: set[tuple[str, str]] | None) -> list[Told]:
    """Findings of one rule, severity and cause as one where there are more than three, the gravest first."""
    families: dict[tuple[str, ...], list[Finding]] = {}
    for finding in findings:
        family = (finding["severity"], finding.get("rule") or "", finding["cause"])
        families.setdefault(family, []).append(finding)
    told: list[Told] = []
    for members in sorted(families.values(), key=lambda each: _gravity(each[0])):
        parts = [(each,) for each in members] if len(members) <= _APART else [tuple(members)]
        told += [Told(part, earlier is not None and not any(key(each) in earlier for each in part)) for part in parts]
    return told


def _gravity(finding: Finding) -> int:
    severity = finding["severity"]
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def _article(told: Told) -> str:
    first, *rest = told.members
    severity = text(first["severity"])
    new = ' <span class="new">new</span>' if told.new else ""
    more = f" and {len(rest):,} more" if rest else ""
    others = "".join(f"<li>{_tensor(each)}: {text(each['seen'])}</li>" for each in rest)
    # Of one cause the remedies differ in the name only.
    listed = f"<details><summary>All {len(told.members):,} tensors</summary><ul>{others}</ul></details>" if rest else ""
    return f"""<article class="card finding {severity}">
<h3><span class="health {severity}">{_sign(first["severity"])} {severity}</span>
<span>{_tensor(first)}{more}{new}</span> <span class="rule">{text(first.get("rule") or "")}</span></h3>
<dl><dt>seen</dt><dd>{text(first["seen"])}</dd><dt>expected</dt><dd>{text(first["expected"])}</dd>
<dt>cause</dt><dd>{text(first["cause"])}</dd></dl>
<div class="remedy"><pre aria-label="Remedy" tabindex="0">{text(first["remedy"])}</pre></div>
{listed}</article>
"""


def _mended(findings: Iterable[Finding], before: Iterable[Finding]) -> str:
    now = {key(each) for each in findings}
    gone = [each for each in before if key(each) not in now]
    items = "".join(f"<li>{_tensor(each)}: {text(each['seen'])}; {text(each['cause'])}</li>" for each in gone)
    if not gone:
        return ""
    return (
        f'<details class="card mended" open><summary><span class="health healthy">{_sign("healthy")} '
        f"{len(gone):,} mended since before</span></summary><ul>{items}</ul></details>"
    )


def _tensor(finding: Finding) -> str:
    return f"<code data-tensor>{text(finding['tensor'])}</code>"


def _sign(word: str) -> str:
    return f'<span class="sign" aria-hidden="true">{sign(word)}</span>'
