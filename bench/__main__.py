"""`./dev bench`: what fanin promises on speed, measured now; `--write` puts the tables into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import platform
from pathlib import Path

import auto_depth
import drop_in
import fill_throughput
import torch
import whole_models
from rows import Row, markdown

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARK = "<!-- measured -->\n"
ON_REQUEST = ("auto",)  # ten minutes of it
PARTS = {
    "drop-in": ("`fanin.torch.init` against `torch.nn.init`", drop_in.rows),
    "kernels": ("The kernels alone, against `torch.nn.init`, 64M elements", fill_throughput.rows),
    "auto": ("`auto` and `critical`: 50 layers without normalisation, worst layer against the first", auto_depth.rows),
    "models": ("Whole models, against their own constructors", whole_models.rows),
}


def machine() -> str:
    """The machine in one line, without its name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    threads = torch.get_num_threads()
    return (
        f"{cpu}, {threads} threads, torch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    usual = f"which tables; by default all but {', '.join(ON_REQUEST)}"
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help=usual)
    parser.add_argument("--seeds", type=int, help="networks per figure of auto, 9 by default; fewer are a rough look")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    arguments = parser.parse_args()
    measured: list[Row] = []
    text = [f"Measured {datetime.date.today()} by `./dev bench` on {machine()}."]
    print(text[0], flush=True)
    for part in arguments.parts or [name for name in PARTS if name not in ON_REQUEST]:
        title, rows = PARTS[part]
        found = rows(arguments.seeds) if part == "auto" and arguments.seeds else rows()
        measured += found
        text.append(f"## {title}\n\n{markdown(found)}")
        print(f"\n{text[-1]}", flush=True)
    if arguments.write:
        introduction = PAGE.read_text(encoding="utf-8").split(MARK)[0]
        PAGE.write_text(introduction + MARK + "\n" + "\n\n".join(text) + "\n", encoding="utf-8")
    return 0 if all(row.reached for row in measured) else 1


if __name__ == "__main__":
    raise SystemExit(main())
