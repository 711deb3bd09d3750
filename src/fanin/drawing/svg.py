"""SVG that tells readers what it shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

_ROOT = re.compile(r"<svg ")
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)


def accessible(svg: str, nodes: Mapping[str, str], description: str) -> str:
    """What `dot` wrote, with a title and a description, and titles of nodes that say what they are.

    Args:
        svg: SVG of Graphviz.
        nodes: what each node is, by its name in the graph.
        description: of the whole.
    """
    named = _TITLE.sub(lambda found: _title(found[1], nodes), _COMMENT.sub("", svg))
    title, _, _ = description.partition(",")
    head = f'<title id="title">{escape(title)}</title>\n<desc id="description">{escape(description)}</desc>\n'
    opened = _ROOT.sub('<svg role="img" aria-labelledby="title description" ', named, count=1)
    start = opened.index(">", opened.index("<svg ")) + 1
    return f"{opened[:start]}\n{head}{opened[start:].lstrip()}"


def _title(node: str, nodes: Mapping[str, str]) -> str:
    return f"<title>{escape(_plain(nodes[node]))}</title>" if node in nodes else ""


def _plain(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]", "\N{REPLACEMENT CHARACTER}", text)
