"""The page docs/defects.md: every defect that tests seed, where it was met, and what finds it. Prints the page."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "defects.md"

MET = {
    "A1": "pytorch/torchtitan#2269",
    "A2": "pytorch/pytorch#155588",
    "A5": "pytorch/torchtitan#3334",
    "A6": "sapientinc/HRM#91",
    "A7": "huggingface/transformers#21789, yfzhang114/SliME#8",
    "B1": "pytorch/pytorch#24991",
    "B3": "pytorch/pytorch#15314",
    "C1": "pytorch/pytorch#23854",
    "C2": "huggingface/pytorch-image-models#84",
    "C3": "tensorflow/tensorflow#31192",
    "C4": "pytorch/pytorch#166378",
    "C6": "clankur/einygpt#3",
    "D1": "fla-org/flame#9, huggingface/transformers#44575",
    "D2": "pytorch/pytorch#107909, NVIDIA/Megatron-LM#6799",
    "D3": "NVIDIA-BioNeMo/bionemo-recipes#1397",
    "D4": "pytorch/torchtitan#1371",
    "D5": "saforem2/ezpz#207",
    "E2": "allenai/OLMo-core#679",
    "E3": "pytorch/torchtitan#3106",
    "E4": "mosaicml/llm-foundry#1820",
    "E8": "deepspeedai/DeepSpeed#2650",
    "F1": "huggingface/transformers#46620",
    "F2": "huggingface/transformers#28122, #46002",
    "F3": "huggingface/transformers#45591, #43717",
    "F5": "huggingface/transformers#42531",
    "F6": "huggingface/transformers#26441",
    "G2": "huggingface/transformers#29219",
    "G3": "hiyouga/LlamaFactory#10547",
    "I1": "microsoft/mup#55",
    "I2": "microsoft/mup#59",
    "I3": "microsoft/mup#71",
    "K2": "karpathy/llama2.c#579",
    "L2": "keras-team/keras-hub#352",
    "L4": "tinygrad/tinygrad#16623",
    "L5": "stanford-crfm/levanter#987",
    "M0.1": "torch's count of fans on other layouts",
    "M4.1": "transformers, `lecun_normal_`",
    "M4.2": "transformers, RWKV",
    "M4.3": "transformers, CLIP",
    "M4.4": "transformers, Mamba",
    "M4.16": "chrono_initialization",
    "signal": "",
}
"""Where an issue was met."""

HEAD = """# Defects that are found

Each line is a model with one defect, seeded by a test, that `fanin audit` or `fanin check` must find under this rule
and at the right tensor; where the defect was met is named. The audit must then say nothing else above "info", and its
remedy must mend the model. Both must say nothing above "info" of {healthy} healthy models: fresh ones of torch.nn, of
transformers and of fanin.

This page is written by `python tests/corpus/defects.py > docs/defects.md`, from the lists that the tests run.
"""


class Defect(NamedTuple):
    """One seeded defect."""

    verb: str
    name: str
    issue: str
    rule: str


def listed(folder: str) -> Iterable[Any]:
    return runpy.run_path(str(TESTS / folder / "corpus.py"))["CASES"]


def defects() -> list[Defect]:
    """All, the audit's first."""
    return [
        Defect(verb, case.name, case.issue, case.rule)
        for verb, folder in (("audit", "auditing"), ("check", "checking"))
        for case in listed(folder)
    ]


def healthy() -> list[str]:
    """The names of the healthy models that both verbs are run on."""
    return list(runpy.run_path(str(TESTS / "auditing" / "healthy.py"))["MODELS"])


def page() -> str:
    """The page's text."""
    rows = [f"| {each.name} | {MET[each.issue]} | {each.verb} | `{each.rule}` |" for each in defects()]
    table = "\n".join(("| Defect | Met in | Found by | Rule |", "|---|---|---|---|", *rows))
    names = ", ".join(healthy())
    return f"{HEAD.format(healthy=len(healthy()))}\n{table}\n\n## Healthy models\n\n{names}.\n"


if __name__ == "__main__":
    sys.stdout.write(page())
