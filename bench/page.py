"""docs/benchmarks.md: an introduction by hand, then one measured section for each part of the bench."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
IMAGES = PAGE.parent / "images"

_SECTION = re.compile(r"<!-- part (\S+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def renew(sections: dict[str, str], order: list[str]) -> None:
    """Put the sections (by part) into the page, in `order`; the parts that were not measured stay as they are."""
    text = PAGE.read_text(encoding="utf-8")
    introduction = _SECTION.split(text, maxsplit=1)[0].rstrip()
    known = dict(_SECTION.findall(text)) | {part: f"\n{body}\n\n" for part, body in sections.items()}
    bodies = (f"<!-- part {part} -->\n{known[part]}<!-- end -->\n" for part in order if part in known)
    PAGE.write_text("\n".join([introduction, "", *bodies]), encoding="utf-8")
