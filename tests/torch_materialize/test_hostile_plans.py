"""A plan from a stranger: whatever its JSON says, PlanError before memory is taken and before a value is written."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fanin.errors import PlanError
from fanin.plans import Plan
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize

NORMAL = [["law", "Normal"], ["mean", 0.0], ["std", 1.0]]


def zeros(*shape):
    return ["zeros.default", [list(shape)], [["dtype", ["dtype", "float32"]]]]


def draw(law=NORMAL, shape=(4, 3), dtype="float32", stream="", lane=64):
    return ["draw", [law, list(shape), dtype, stream, lane], []]


MANY = [zeros(4_000_000)] * 200 + [["stack.default", [[["$", n] for n in range(200)]], []]]
PROGRAMS = {
    "many live results": (MANY, "at line 33 the program holds 544000000 bytes; allowed are 536870912"),
    "unbind": ([zeros(4_000_000), ["unbind.int", [["$", 0]], []]], "apart into up to 4000000 pieces; allowed are"),
    "split": ([zeros(4_000_000), ["split.Tensor", [["$", 0], 2], []]], "into up to 4000000 pieces; allowed are 20000"),
    "repeat": ([zeros(9), ["repeat.default", [["$", 0], [1 << 50]], []]], "makes 10133099161583616 elements"),
    "huge number": ([zeros(1 << 70)], "line 0 of the program, 'zeros.default', fails:"),
    "negative size": ([zeros(-3)], "line 0 of the program, 'zeros.default', fails:"),
    "reference without a line": ([zeros(4, 3), ["neg.default", [["$"]], []]], "line 1 of the program, 'neg.default'"),
    "reference to the end": ([zeros(4, 3), ["neg.default", [["$", -1]], []]], "line 1 of the program, 'neg.default'"),
    "reference to an object": ([zeros(4, 3), ["neg.default", [["$", {}]], []]], "line 1 of the program"),
    "reference to text": ([zeros(4, 3), ["neg.default", [["$", "0"]], []]], "line 1 of the program"),
    "line of text": (["zeros"], "line 0 of the program is not [operator, arguments, keyword arguments]"),
    "operator of lists": ([[["x"], [], []]], "line 0 of the program is not [operator, arguments, keyword arguments]"),
    "options of text": ([["zeros.default", [[4, 3]], "dtype"]], "line 0 of the program is not [operator"),
    "tensor without a name": ([["tensor", [], []]], "line 0 of the program, 'tensor', fails"),
    "tensor named by an object": ([["tensor", [{}], []]], "line 0 of the program, 'tensor', fails"),
    "lane": ([draw(lane=-1)], "a stream needs a 64-bit key and a 32-bit lane"),
    "lane of text": ([draw(lane="a")], "the program draws from stream '', lane 'a': not a name and a number"),
    "stream of numbers": ([draw(stream=3)], "the program draws from stream 3, lane 64: not a name and a number"),
    "integers drawn": ([draw(dtype="int64")], "Normal(mean=0, std=1) cannot be drawn in dtype torch.int64"),
    "dtype": ([draw(dtype="float33")], "the program names the dtype 'float33', which torch does not have"),
    "law of another rank": ([draw([["law", "Orthogonal"], ["gain", 1.0]], (12,))], "Orthogonal"),
    "no law": ([draw([["law", "Cauchy"]])], "unknown initializer 'Cauchy'"),
    "infinite spread": ([draw([["law", "Normal"], ["std", float("inf")]])], "std"),
    "negative offset": ([zeros(4, 3), ["as_strided.default", [["$", 0], [4, 3], [3, 1], -1], []]], "elements -1 to 10"),
    "memory of others": (
        [zeros(4, 3), ["as_strided.default", [["$", 0], [4, 3], [1 << 40, 1]], []]],
        "the program views elements 0 to 3298534883330 of memory that has 12",
    ),
    "no program": ([], "a program has from 1 to 20000 lines, this one has 0"),
    "long program": ([zeros(1)] * 20_001, "a program has from 1 to 20000 lines, this one has 20001"),
}  # fmt: skip
DRAWN = {
    "no integer places": ({"parts": [[["0", 0], [1, 3], {"law": "Constant"}]]}, "must be counts of elements"),
    "negative places": ({"parts": [[[-1, 0], [1, 3], {"law": "Constant"}]]}, "must be counts of elements"),
    "part outside": ({"parts": [[[0, 0], [1 << 60, 3], {"law": "Constant"}]]}, "leaves the tensor (4, 3)"),
    "part of another rank": ({"parts": [[[0], [1], {"law": "Constant"}]]}, "region ranks differ"),
    "orthogonal line": ({"base": {"law": "Orthogonal", "rows": [0, 1]}, "parts": []}, "Orthogonal"),
}


def bytes_held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def refuse(action, text):
    plan = capture(lambda: nn.Linear(3, 4)).plan.to_dict()
    next(step for step in plan["steps"] if step["name"] == "weight")["action"] = action
    model = nn.Linear(3, 4)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    with pytest.raises(PlanError, match=re.escape(text)):
        materialize(model, Plan.from_json(json.dumps(plan)))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_is_refused_without_memory(name):
    program, text = PROGRAMS[name]
    refuse({"do": "replay", "program": [zeros(1)]}, "computes shape (1,)")
    before = bytes_held()
    refuse({"do": "replay", "program": program}, text)
    assert bytes_held() - before < 100 << 20


@pytest.mark.parametrize("name", DRAWN)
def test_hostile_blocks_are_refused(name):
    changes, text = DRAWN[name]
    refuse({"do": "draw", "law": "Blocks", "base": {"law": "Constant"}} | changes, text)


def test_a_huge_shape_is_another_model():
    plan = capture(lambda: nn.Linear(3, 4)).plan.to_dict()
    plan["steps"][0]["shape"] = [1 << 62, 1 << 62]
    with pytest.raises(PlanError, match="the plan has shape \\(4611686018427387904, 4611686018427387904\\)"):
        materialize(nn.Linear(3, 4), Plan.from_json(json.dumps(plan)))


def test_laws_nested_without_end_are_refused():
    law = {"law": "Constant"}
    for _ in range(400):
        law = {"law": "Blocks", "base": law, "parts": []}
    refuse({"do": "draw"} | law, "laws are nested too deeply")
