"""`fanin count`: the table's sums, the JSON, the options."""

from __future__ import annotations

import re

import pytest

import fanin as library

GOLDEN = """\
mnist-fc · batch 500

module  class   parameters         MACs        FLOPs  activations
─────────────────────────────────────────────────────────────────
fc1     Linear     392,500  196,000,000  392,000,000    1.495 MiB
act1    ReLU             0            0            0    976.6 KiB
fc2     Linear       5,010    2,500,000    5,000,000          0 B
─────────────────────────────────────────────────────────────────
total              397,510  198,500,000  397,000,000    2.449 MiB

memory of a training step      bytes
───────────────────────────────────────────────
weights                    1,590,040  1.516 MiB
gradients                  1,590,040  1.516 MiB
Adam's moments             3,180,080  3.033 MiB
activations                2,568,000  2.449 MiB
───────────────────────────────────────────────
in all                     8,928,160  8.515 MiB

397,510 of 397,510 parameters are trained
"""


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def whole(text: str) -> int:
    return int(text.replace(",", ""))


def test_count_as_text(fanin) -> None:
    assert lines(fanin("count", "mnist-fc", "--batch", 500).out) == lines(GOLDEN)


@pytest.mark.parametrize("model", ["mnist-fc", "mnist-cnn", "mlp:20-30-40-5,activation=gelu,norm=layer"])
def test_the_totals_are_the_sums_of_the_printed_rows(fanin, model: str) -> None:
    printed = fanin("count", model, "--batch", 3).out
    modules, memory = printed.split("memory of a training step")
    rows = re.findall(r"^(\S+) +\S+ +([\d,]+) +([\d,]+) +([\d,]+) +[\d.,]+ \w+ *$", modules, re.MULTILINE)
    total = re.search(r"^total +([\d,]+) +([\d,]+) +([\d,]+)", modules, re.MULTILINE)
    assert total is not None
    assert len(rows) > 2
    for column in range(3):
        assert sum(whole(row[column + 1]) for row in rows) == whole(total[column + 1])
    octets = [whole(found) for found in re.findall(r"  +([\d,]+)  +[\d.,]+ \w+ *$", memory, re.MULTILINE)]
    assert sum(octets[:-1]) == octets[-1]


def test_json_says_what_the_library_says(fanin) -> None:
    done = fanin("count", "mnist-cnn", "--batch", 7, "--samples", 4000, "--json")
    expected = library.count(library.models.build("mnist-cnn"), batch=7, samples=4000).to_dict()
    assert done.code == 0
    assert {**done.json, "notes": []} == {**expected, "notes": []}
    assert done.json["notes"] == []


def test_samples_say_what_they_mean_for_overfitting(fanin) -> None:
    printed = " ".join(fanin("count", "mnist-fc", "--samples", 4000).out.split())
    assert "99.4 parameters per training sample: enough to memorise the training data" in printed


def test_input_shape_of_a_model_of_ones_own(fanin, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\ndef model():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))\n"
    )
    counted = fanin("count", "mine.py:model", "--input", "3x8x10", "--json").json
    assert counted["macs"] == 4 * 3 * 9 * 6 * 8


def test_a_model_whose_input_nobody_knows_is_counted_without_operations(fanin, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import torch\ndef model():\n    return torch.nn.Bilinear(2, 3, 4)\n")
    done = fanin("count", "mine.py:model", "--json")
    assert done.code == 0
    assert done.json["parameters"] == 28
    assert done.json["flops"] is None
    assert done.json["notes"]
