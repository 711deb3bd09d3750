"""Names of tensors and texts of models are hostile until proven otherwise: how they enter a page."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def text(value: object) -> str:
    """Any value as HTML text or attribute value.

    Control characters, those that turn the direction of writing and lone surrogates become visible escapes.

    >>> text('</script><b class="x">'), text("a\\u202eb")
    ('&lt;/script&gt;&lt;b class=&quot;x&quot;&gt;', 'a\\\\u202eb')
    """
    return escape(visible(str(value)))


def visible(value: str) -> str:
    """The string with characters that hide or move others as escapes."""
    return _UNFIT.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), value)


def embedded(data: Any) -> str:
    r"""Data as JSON that may stand in a `<script>` element: nothing in it can end the element.

    >>> embedded({"</script>": "<!--"})
    '{"\\u003c/script\\u003e":"\\u003c!--"}'
    """
    told = json.dumps(_shown(data), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return told.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(data: Any) -> Any:
    if isinstance(data, str):
        return visible(data)
    if isinstance(data, dict):
        return {_shown(key): _shown(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_shown(value) for value in data]
    return data
