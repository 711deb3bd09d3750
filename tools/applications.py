"""`./dev applications [NAME …]`: run the full forms of examples/applications and put what they find into the docs.

Of each, the picture and the numbers go to docs/images/applications, and the text between `<!-- measured -->` and
`<!-- end -->` of docs/applications/NAME.md is made anew: command, machine, claims, table and picture.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "examples" / "applications"
PAGES = ROOT / "docs" / "applications"
IMAGES = ROOT / "docs" / "images" / "applications"
SHARED = "reporting"

_MEASURED = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->\n)", re.DOTALL)


def names() -> list[str]:
    """Every application that has a script."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != SHARED)


def measured(found: Mapping[str, Any]) -> str:
    """What stands between the markers."""
    from reporting import table

    name, claims = found["name"], found["claims"]
    told = [
        f"| {claim['text']} | {claim['measured']} | {'yes' if claim['reached'] else '**no**'} |" for claim in claims
    ]
    return "\n".join(
        [
            f"Measured {found['date']} by `{found['command']}` in {found['minutes']:g} minutes on {found['machine']}; "
            f"all numbers: [{name}.json](../images/applications/{name}.json).",
            "",
            "| claim | measured | holds |",
            "|---|---|---|",
            *told,
            "",
            f"![{name}](../images/applications/{name}.png)",
            "",
            table(found["table"]),
            "",
        ]
    )


def renewed(page: str, found: Mapping[str, Any]) -> str:
    """The page with this measurement between its markers."""
    text, places = _MEASURED.subn(lambda match: f"{match[1]}\n{measured(found)}\n{match[2]}", page)
    if places != 1:
        raise SystemExit(f"docs/applications/{found['name']}.md needs one <!-- measured --> … <!-- end -->")
    return text


def run(name: str) -> bool:
    """Run the full form and renew picture, numbers and page; whether its claims hold."""
    page = PAGES / f"{name}.md"
    before = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, str(SCRIPTS / f"{name}.py"), "--output", folder])
        result = Path(folder) / f"{name}.json"
        if not result.exists():
            raise SystemExit(f"{name} ended with status {done.returncode} and left no numbers; docs are as they were")
        after = renewed(before, json.loads(result.read_text(encoding="utf-8")))
        IMAGES.mkdir(parents=True, exist_ok=True)
        for kind in ("png", "json"):
            copyfile(Path(folder) / f"{name}.{kind}", IMAGES / f"{name}.{kind}")
    page.write_text(after, encoding="utf-8")
    return done.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev applications", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*names(), []], metavar="NAME", help="which; by default all")
    chosen = parser.parse_args().names or names()
    failed = []
    for name in chosen:
        print(f"\n{name}", flush=True)
        if not run(name):
            failed.append(name)
    if failed:
        print(f"\nclaims that do not hold: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.path.insert(0, str(SCRIPTS))
    raise SystemExit(main())
