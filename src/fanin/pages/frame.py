"""The frame of every page: one HTML file with everything in it, nothing fetched, nothing that a name could run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

from fanin.pages import assets
from fanin.pages.escaping import embedded, text


@dataclass(frozen=True, slots=True)
class Part:
    """A section of the page.

    Attributes:
        anchor: its id.
        title: its heading.
        words: a sentence beside the heading.
        body: what is in it before any script runs, HTML.
        count: of what it lists; None where nothing is counted.
    """

    anchor: str
    title: str
    words: str
    body: str = ""
    count: int | None = None

    def html(self) -> str:
        """The section."""
        return (
            f'<section id="{self.anchor}" aria-labelledby="{self.anchor}-title">\n'
            f'<div class="head"><h2 id="{self.anchor}-title">{self.title}</h2><p>{self.words}</p></div>\n'
            f"{self.body}</section>"
        )

    def link(self) -> str:
        """The link to it in the bar."""
        count = "" if self.count is None else f' <span class="count">{self.count:,}</span>'
        return f'<a href="#{self.anchor}">{self.title}{count}</a>'


def page(
    title: str,
    header: str,
    parts: Sequence[Part],
    data: Mapping[str, Any],
    version: str | None,
    scripts: tuple[str, ...],
) -> str:
    """A page, whose Content-Security-Policy forbids every request and every script but its own, by their hashes.

    Args:
        title: of the window.
        header: HTML of the head.
        parts: sections, in order.
        data: what the scripts draw.
        version: of fanin.
        scripts: in order.
    """
    styles = assets.styles()
    return Template(assets.template()).substitute(
        title=text(title),
        version=text(version or ""),
        licences=assets.licences(),
        style_hashes=assets.allowed(styles),
        script_hashes=assets.allowed(scripts),
        styles="\n".join(f"<style>{each}</style>" for each in styles),
        scripts="\n".join(f"<script>{each}</script>" for each in scripts),
        header=header,
        navigation="\n".join(part.link() for part in parts),
        sections="\n".join(part.html() for part in parts),
        data=embedded(data),
    )
