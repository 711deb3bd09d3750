"""What comes from another project is as it was published, says so, and travels with the package."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import pytest

from fanin.pages import assets, plan_page

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("vendored", [assets.UPLOT_SCRIPT, assets.UPLOT_STYLES, assets.UPLOT_TERMS])
def test_files_are_as_published(vendored: assets.Vendored) -> None:
    content = files("fanin.pages").joinpath(vendored.path).read_bytes()
    assert sha256(content).hexdigest() == vendored.digest


def test_every_vendored_file_is_recorded() -> None:
    folder = ROOT / "src" / "fanin" / "pages"
    there = {path.relative_to(folder).as_posix() for path in (folder / "vendor").rglob("*") if path.is_file()}
    assert there == {each.path for each in (assets.UPLOT_SCRIPT, assets.UPLOT_STYLES, assets.UPLOT_TERMS)}


def test_version_and_licence_are_those_of_the_files() -> None:
    assert f"uPlot (v{assets.UPLOT_VERSION})" in assets.UPLOT_SCRIPT.text()[:100]
    assert assets.UPLOT_TERMS.text().startswith(f"The {assets.UPLOT_LICENCE} License")


def test_every_page_carries_the_licence() -> None:
    page = plan_page("m", [])
    assert assets.UPLOT_TERMS.text() in page
    assert f"uPlot {assets.UPLOT_VERSION}" in page


def test_the_page_itself_is_small() -> None:
    assert len(plan_page("m", []).encode()) < 300_000


def test_all_scripts_are_used() -> None:
    folder = ROOT / "src" / "fanin" / "pages" / "static"
    assert {path.stem for path in folder.glob("*.js")} == {*assets.SCRIPTS, *assets.RACE_SCRIPTS}


def test_nothing_in_the_page_could_end_its_element() -> None:
    for script in (*assets.scripts(), *assets.scripts(assets.RACE_SCRIPTS)):
        assert "</script" not in script.lower()
        assert "<!--" not in script
    for style in assets.styles():
        assert "</style" not in style.lower()
    assert "-->" not in assets.UPLOT_TERMS.text()


def test_the_template_is_not_data() -> None:
    assert json.loads(plan_page("$version ${data}", []).partition('id="data">')[2].partition("</script>")[0])
    assert "<h1>$version ${data}</h1>" in plan_page("$version ${data}", [])
