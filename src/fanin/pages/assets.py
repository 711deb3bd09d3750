"""The files that pages are made of: our styles and scripts, and the plotting library that comes with them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

SCRIPTS = ("dom", "words", "theme", "histogram", "chart", "grid", "layers", "tensors", "main")
RACE_SCRIPTS = ("dom", "words", "theme", "race")


@dataclass(frozen=True, slots=True)
class Vendored:
    """A file of another project, kept as it was published.

    Attributes:
        path: where it stands under `fanin/pages`.
        digest: SHA-256 of its bytes, in hex.
    """

    path: str
    digest: str

    def text(self) -> str:
        """What it holds."""
        return _read(self.path)


UPLOT_VERSION = "1.6.32"
UPLOT_LICENCE = "MIT"
UPLOT_SCRIPT = Vendored(
    "vendor/uplot/uPlot.iife.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
)
UPLOT_STYLES = Vendored(
    "vendor/uplot/uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"
)
UPLOT_TERMS = Vendored("vendor/uplot/LICENSE", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd")


@cache
def template() -> str:
    """The frame of every page, for `string.Template`."""
    return _read("static/page.html")


@cache
def styles() -> tuple[str, ...]:
    """The style sheets, in order."""
    return (UPLOT_STYLES.text(), _read("static/page.css"))


@cache
def scripts(names: tuple[str, ...] = SCRIPTS) -> tuple[str, ...]:
    """The scripts, in order; ours are one, in a scope of its own."""
    ours = "\n".join(_read(f"static/{name}.js") for name in names)
    return (UPLOT_SCRIPT.text(), f'(() => {{\n"use strict";\n{ours}}})();')


@cache
def licences() -> str:
    """The notice that copies of the plotting library must carry, as an HTML comment."""
    return f"<!-- Charts by uPlot {UPLOT_VERSION}.\n{UPLOT_TERMS.text()}-->"


def allowed(sources: tuple[str, ...]) -> str:
    """The sources of a Content-Security-Policy that lets exactly these inline texts run.

    >>> allowed(("",))
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return " ".join(f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'" for text in sources)


def _read(path: str) -> str:
    return files("fanin.pages").joinpath(path).read_text(encoding="utf-8")
