"""The pictures of reports in README and docs: `python tools/report_images.py` runs examples/report.py and looks at it.

Needs playwright and a Chromium: on PATH, or named by the environment variable CHROMIUM.
"""

from __future__ import annotations

import io
import os
import runpy
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH = 1180
COLOURS = 128  # a picture of text and lines needs no more


def main() -> None:
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"no browser: none of {', '.join(BROWSERS)} is on PATH, and CHROMIUM is not set")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        with chdir(folder):
            runpy.run_path(str(ROOT / "examples" / "report.py"), run_name="__main__")
        opened = playwright.chromium.launch(executable_path=browser)
        before, after = Path(folder) / "before.html", Path(folder) / "report.html"
        save(page_of(opened, before, "light", 1130).screenshot(), "report.png")
        save(with_row(page_of(opened, before, "light", 1130), "tail.8").screenshot(), "report-layers.png")
        save(page_of(opened, after, "dark", 1000).screenshot(), "report-compared.png")
        opened.close()


def page_of(browser: Any, file: Path, scheme: str, height: int) -> Any:
    """The page as a reader sees it, complete."""
    page = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=scheme)
    page.goto(file.as_uri())
    page.evaluate("""async () => { while (!performance.getEntriesByName("complete").length) {
        await new Promise((done) => setTimeout(done, 10)); } }""")
    return page


def with_row(page: Any, layer: str) -> Any:
    """The section of the layers, one of them chosen."""
    page.get_by_role("button", name="Fold all", exact=True).click()
    page.locator("#layers .body .row", has_text=layer.partition(".")[0]).first.click()
    page.focus(f"#layers .body .row:has(.text[title='{layer}'])")
    return page.locator("#layers")


def save(screenshot: bytes, name: str) -> None:
    """Write the picture with few colours, so that it is small."""
    target = IMAGES / name
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
