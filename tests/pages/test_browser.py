"""The page of a report in a real browser: it opens in silence, and everything in it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log10
from pathlib import Path
from typing import Any

import pytest

from fanin.torch.probe import Jacobian

Open = Callable[..., Any]
LIGHT, DARK = "rgb(251, 251, 249)", "rgb(20, 23, 26)"


def background(page: Any) -> str:
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def visible_rows(page: Any, section: str) -> list[str]:
    """The names in the first cells of the rows that show."""
    return page.evaluate(
        """(id) => [...document.querySelectorAll(`#${id} .body .row`)].filter((row) => row.checkVisibility())
        .map((row) => row.querySelector(".text").textContent)""",
        section,
    )


def inked(page: Any, selector: str) -> float:
    """The share of a canvas's pixels that something was drawn on."""
    return page.evaluate(
        """(selector) => { const canvas = document.querySelector(selector);
        const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let drawn = 0; for (let at = 3; at < seen.length; at += 4) drawn += seen[at] > 0;
        return 4 * drawn / seen.length; }""",
        selector,
    )


def test_opens_in_silence_and_asks_for_nothing(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page)
    assert there.said == []
    assert there.asked == [sick_page.as_uri()]
    assert "vanishing" in there.page.inner_text("header .verdict")
    order = there.page.evaluate("[...document.querySelectorAll('main > section')].map((section) => section.id)")
    assert order == ["findings", "signal", "layers", "parameters", "plan"]
    assert inked(there.page, "#signal canvas") > 0.02


def test_the_network_is_forbidden_to_scripts_too(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page)
    refused = there.page.evaluate("""async () => { try { await fetch("http://127.0.0.1:9/x"); return "sent"; }
        catch (error) { return error.name; } }""")
    assert refused == "TypeError"
    assert any("Content Security Policy" in line for line in there.said)


def test_words_filter_the_layers(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page)
    assert len(visible_rows(there.page, "layers")) == 25 + 5  # the layers and their groups
    there.page.fill("#layers input", "relu blocks.1")
    assert visible_rows(there.page, "layers") == ["blocks", "1", "act"]
    assert there.page.inner_text("#layers .shown") == "1 of 25"
    there.page.fill("#layers input", "")
    there.page.select_option("#layers select >> nth=0", "healthy")
    assert visible_rows(there.page, "layers")[-1] == "head"
    there.page.fill("#layers input", "nothing is called so")
    assert visible_rows(there.page, "layers") == []
    assert there.page.is_visible("#layers .nothing")


def test_words_and_roles_filter_the_plan(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page)
    there.page.fill("#plan input", "too small")  # the reason
    assert len(visible_rows(there.page, "plan")) == 13
    there.page.select_option("#plan select >> nth=0", "head")
    assert visible_rows(there.page, "plan") == ["head.weight"]
    there.page.fill("#plan input", "head")
    there.page.select_option("#plan select >> nth=0", "")
    assert visible_rows(there.page, "plan") == ["head.weight", "head.bias"]


def test_parameters_sort(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page)
    head = there.page.locator("#parameters [role=columnheader]", has_text="grad rms")
    head.get_by_role("button").click()
    ascending = visible_rows(there.page, "parameters")
    assert head.get_attribute("aria-sort") == "ascending"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert visible_rows(there.page, "parameters") == ascending[::-1]
    assert ascending[-1] == "head.bias"


def test_hovering_shows_a_histogram(opened: Open, sick_page: Path, runs: Any) -> None:
    there = opened(sick_page)
    there.page.locator("#layers .body .row", has_text="head").hover()
    there.page.wait_for_selector("#layers .detail canvas")
    assert there.page.inner_text("#layers .detail h3") == "head"
    label = there.page.get_attribute("#layers .detail [role=img] >> nth=0", "aria-label")
    assert label.startswith("Histogram of outputs: from −")
    assert "%" in label
    assert inked(there.page, "#layers .detail canvas") > 0.05
    head = runs.sick.layers[-1].measured
    assert f"{head.forward.second:.2e}".replace("e-", "e−") in there.page.inner_text("#layers .detail")


def test_the_histogram_is_that_of_the_layer(opened: Open, sick_page: Path, runs: Any) -> None:
    page = opened(sick_page).page
    page.focus("#layers .body .row:has(.text[title='head'])")
    shown = runs.sick.to_dict()["layers"][-1]["forward"]["histogram"]
    share = max(shown["counts"]) / sum(shown["counts"])
    label = page.get_attribute("#layers .detail [role=img] >> nth=0", "aria-label")
    assert f", {100 * share:.0f} % of the values around" in label
    # The tallest bar reaches 1/1.05 of the plot's height.
    top = page.evaluate("""() => { const canvas = document.querySelector("#layers .detail canvas");
        const over = document.querySelector("#layers .detail .u-over").getBoundingClientRect();
        const seen = canvas.getContext("2d"), at = canvas.getBoundingClientRect(), scale = canvas.height / at.height;
        for (let y = over.top - at.top; y < at.height; y += 1) {
          const row = seen.getImageData((over.left - at.left) * scale, y * scale, over.width * scale, 1).data;
          for (let x = 3; x < row.length; x += 4) if (row[x] > 200) return (y - (over.top - at.top)) / over.height;
        } return 1; }""")
    assert top == pytest.approx(1 - 1 / 1.05, abs=0.03)


def test_rows_show_measured_predicted_and_their_ratio(opened: Open, sick_page: Path, runs: Any) -> None:
    page = opened(sick_page).page
    layer = runs.sick.layers[1].measured
    cells = page.locator("#layers .body .row:has(.text[title='blocks.0.up']) [role=gridcell]").all_inner_texts()
    ratio = layer.forward.second / layer.expected_forward
    assert float(cells[3]) == pytest.approx(layer.forward.second, rel=5e-3)
    assert float(cells[4]) == pytest.approx(layer.expected_forward, rel=5e-3)
    assert float(cells[5].removeprefix("×")) == pytest.approx(ratio, abs=0.006)


def test_charts_are_logarithmic(opened: Open, sick_page: Path, runs: Any) -> None:
    page = opened(sick_page).page
    names = [layer.name for layer in runs.sick.layers]

    def height(name: str) -> float:
        page.focus("#signal [role=slider] >> nth=0")
        page.keyboard.press("Home")
        for _ in range(names.index(name)):
            page.keyboard.press("ArrowRight")
        # The first chart's points of the cursor: before (none here), predicted, measured.
        return page.evaluate("""() => { const over = document.querySelector("#signal .u-over");
            const points = over.querySelectorAll(".u-cursor-pt");
            return points[2].getBoundingClientRect().top - over.getBoundingClientRect().top; }""")

    falls = [height(name) for name in ("tail.0", "tail.4", "tail.8")]
    logs = [
        log10(runs.sick.layers[names.index(name)].measured.forward.second) for name in ("tail.0", "tail.4", "tail.8")
    ]
    seen, told = (falls[2] - falls[1]) / (falls[1] - falls[0]), (logs[2] - logs[1]) / (logs[1] - logs[0])
    assert falls[1] - falls[0] > 20
    assert seen == pytest.approx(told, rel=0.05)


def test_the_tree_is_walked_with_the_arrow_keys(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page)
    press, title = there.page.keyboard.press, lambda: there.page.inner_text("#layers .detail h3")
    there.page.focus("#layers .body [tabindex='0']")
    assert title() == "blocks"
    press("ArrowDown")
    press("ArrowDown")
    assert title() == "blocks.0.norm"
    press("ArrowLeft")  # to its group
    assert title() == "blocks.0"
    before = len(visible_rows(there.page, "layers"))
    press("ArrowLeft")  # fold it
    assert len(visible_rows(there.page, "layers")) == before - 4
    press("ArrowRight")
    assert len(visible_rows(there.page, "layers")) == before
    press("End")
    assert title() == "head"
    press("Home")
    assert title() == "blocks"
    press("Enter")
    assert visible_rows(there.page, "layers")[:2] == ["blocks", "tail"]
    assert there.page.locator("#layers .body [tabindex='0']").count() == 1


def test_everything_is_reached_by_tab(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page)
    seen: list[str] = []
    for _ in range(60):
        there.page.keyboard.press("Tab")
        seen.append(
            there.page.evaluate("""() => { const at = document.activeElement, part = at.closest("section, nav, header");
            return `${part ? part.id || part.tagName : ""} ${at.getAttribute("role") || at.tagName}`; }""")
        )
    assert seen[0] == " A"  # past the bar
    wanted = (
        "layers INPUT",
        "layers row",
        "signal slider",
        "signal SELECT",
        "parameters row",
        "plan INPUT",
        "plan row",
    )
    assert [each for each in (*wanted, "findings BUTTON", "NAV A", "NAV BUTTON") if each not in seen] == []


def test_charts_are_sliders_and_tables(opened: Open, sick_page: Path, runs: Any) -> None:
    there = opened(sick_page)
    chart = there.page.locator("#signal [role=slider]").first
    chart.focus()
    there.page.keyboard.press("End")
    assert chart.get_attribute("aria-valuenow") == "25"
    assert chart.get_attribute("aria-valuetext").startswith("25, head: measured ")
    there.page.keyboard.press("ArrowLeft")
    last = runs.sick.layers[-2]
    assert chart.get_attribute("aria-valuetext").endswith(f"; {last.verdict}")
    assert last.name in there.page.inner_text("#signal .readout >> nth=0")
    there.page.keyboard.press("Enter")
    assert there.page.evaluate("document.activeElement.querySelector('.text').textContent") == "11"
    there.page.click("#signal summary >> nth=0")
    there.page.wait_for_selector("#signal table >> nth=0 >> tbody tr")
    assert there.page.locator("#signal table >> nth=0").locator("tbody tr").count() == 25
    assert there.page.inner_text("#signal tbody tr:nth-child(25) td:nth-child(2) >> nth=0") == "head"


def test_charts_show_other_quantities_and_kinds(opened: Open, sick_page: Path, runs: Any) -> None:
    there = opened(sick_page)
    there.page.select_option("#signal select[aria-label='Forward: quantity']", label="measured ÷ predicted")
    there.page.focus("#signal [role=slider] >> nth=0")
    there.page.keyboard.press("End")
    head = runs.sick.layers[-1].measured
    ratio = f"measured {head.forward.second / head.expected_forward:.3g}, predicted 1"
    assert ratio in there.page.get_attribute("#signal [role=slider] >> nth=0", "aria-valuetext")
    there.page.select_option("#signal select >> nth=0", "activation")
    assert there.page.get_attribute("#signal [role=slider] >> nth=0", "aria-valuemax") == "9"
    assert inked(there.page, "#signal canvas") > 0.02
    assert there.said == []


def test_blocks_have_a_chart_that_leads_to_their_group(
    opened: Open, runs: Any, tmp_path: Path, sick_page: Path
) -> None:
    assert opened(sick_page).page.locator("#signal [role=slider]").count() == 2
    found = [Jacobian(f"blocks.{place}", "Block", 2.0 + place, 0.25) for place in range(3)]
    there = opened(replace(runs.sick, blocks=tuple(found)).to_html(tmp_path / "blocks.html"))
    chart = there.page.locator("#signal [role=slider]").nth(2)
    chart.focus()
    there.page.keyboard.press("End")
    assert chart.get_attribute("aria-valuetext") == "3, blocks.2: measured 4"
    there.page.keyboard.press("Enter")
    assert there.page.inner_text("#layers .detail h3") == "blocks.2"
    assert "0.25 … 4" in there.page.inner_text("#layers .detail")
    assert there.said == []


def test_findings_lead_to_their_tensors(opened: Open, sick_page: Path, runs: Any) -> None:
    there = opened(sick_page)
    there.page.click("#findings .linked >> nth=0")
    assert there.page.evaluate("document.activeElement.closest('section').id") == "parameters"
    assert there.page.inner_text("#parameters .detail h3") == runs.sick.findings[0].tensor
    there.page.click("header .linked")
    assert there.page.evaluate("document.activeElement.closest('section').id") == "layers"


def test_a_remedy_is_copied(opened: Open, sick_page: Path) -> None:
    there = opened(sick_page, permissions=["clipboard-read", "clipboard-write"])
    there.page.click("#findings .copy >> nth=0")
    assert there.page.evaluate("navigator.clipboard.readText()") == there.page.inner_text(".remedy pre >> nth=0")


def test_dark_mode_follows_the_system_and_the_button(opened: Open, sick_page: Path) -> None:
    light, dark = opened(sick_page).page, opened(sick_page, color_scheme="dark").page
    assert (background(light), background(dark)) == (LIGHT, DARK)
    shown = dark.evaluate("document.querySelector('#signal canvas').toDataURL()")
    dark.click("#theme")
    assert dark.evaluate("document.querySelector('#signal canvas').toDataURL()") != shown
    assert background(dark) == LIGHT
    assert dark.get_attribute("#theme", "aria-pressed") == "false"
    light.click("#theme")
    assert background(light) == DARK
    assert light.get_attribute("#theme", "aria-pressed") == "true"


def test_on_paper_it_is_light_whole_and_without_controls(opened: Open, sick_page: Path) -> None:
    page = opened(sick_page, color_scheme="dark").page
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert not page.is_visible("nav")
    assert not page.is_visible("#layers .controls")
    assert page.evaluate("[...document.querySelectorAll('.grid')].every((g) => g.scrollHeight <= g.clientHeight + 1)")
    assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("width", [320, 420, 800])
def test_narrow_pages_do_not_scroll_sideways(opened: Open, sick_page: Path, width: int) -> None:
    page = opened(sick_page, viewport={"width": width, "height": 800}).page
    page.focus("#layers .body [tabindex='0']")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_before_and_after(opened: Open, compared_page: Path, runs: Any) -> None:
    there = opened(compared_page)
    page = there.page
    assert page.inner_text("header .verdict").split() == ["▼", "vanishing", "→", "✓", "healthy"]
    assert "2 mended since before" in page.inner_text("#findings .mended")
    cells = page.locator("#layers .body .row", has_text="head").locator(".health").all_inner_texts()
    assert [cell.split()[-1] for cell in cells] == ["healthy", "healthy"]
    assert "before 1" in page.inner_text("#signal .readout >> nth=0")
    page.locator("#layers .body .row", has_text="head").hover()
    page.wait_for_selector("#layers .detail h4:has-text('Outputs before')")
    page.select_option("#plan select >> nth=2", "yes")
    assert len(visible_rows(page, "plan")) == 13
    assert "was normal, std 0.01" in page.inner_text("#plan .body")
    assert there.said == []


def test_screen_readers_find_landmarks_names_and_roles(opened: Open, sick_page: Path) -> None:
    page = opened(sick_page).page
    tree = page.locator("body").aria_snapshot()
    for line in (
        "- banner:",
        '- navigation "Sections":',
        "- main:",
        '- region "Findings":',
        "- contentinfo:",
        '- treegrid "Layers":',
        '- grid "Parameters":',
        '- slider "Forward through depth"',
        '- searchbox "Filter layers"',
        '- columnheader "health"',
        '- heading "Net" [level=1]',
    ):
        assert line in tree, f"{line} is not in the accessibility tree"
    assert page.evaluate("document.documentElement.lang") == "en"
    unnamed = page.evaluate("""[...document.querySelectorAll("button, select, input, [role=slider], [role=region]")]
        .filter((each) => !(each.ariaLabel || each.textContent.trim() || each.labels?.length)).length""")
    assert unnamed == 0
    row = page.locator("#layers .body .row").nth(1)
    assert (row.get_attribute("aria-level"), row.get_attribute("aria-expanded")) == ("2", "true")


def test_the_findings_are_there_without_scripts(opened: Open, browser: Any, sick_page: Path, runs: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(sick_page.as_uri())
    assert "need JavaScript" in page.inner_text("main")
    assert runs.sick.findings[0].tensor in page.inner_text("#findings")
    context.close()
