"""The examples of docs/integrations.md run, where the packages are installed."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
EXAMPLES = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("place", "needed"), [(0, ("lightning",)), (1, ("transformers", "accelerate"))])
def test_the_example_finds_a_healthy_model(
    place: int, needed: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(EXAMPLES) == 2
    names: dict[str, object] = {"__name__": "document"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in needed:
            pytest.importorskip(package)
        exec(compile(EXAMPLES[place], f"integrations.md[{place}]", "exec"), names)
    result = names["start"].result  # pyright: ignore
    assert (result.kind, result.verdict, result.findings) == ("check", "healthy", ())
