"""Repeated layers told as one: what is grouped, what is not, and what the ranges say."""

from dataclasses import replace
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin.axes import Axes
from fanin.initializers import Constant, Normal, TruncatedNormal
from fanin.plans import Plan
from fanin.plans.groups import each_alone, grouped, grouped_steps
from fanin.plans.spans import masked, ranges, span, spanned
from fanin.plans.steps import Draw, Keep, Step
from fanin.plans.text import plan_table, row_of


def step(name, law=None, shape=(8, 8), **fields):
    action = Keep() if law is None else Draw(law)
    return Step(name, shape, "float32", "parameter", action, **({"why": "because"} | fields))


def names(steps):
    return [group.name for group in grouped_steps(steps)]


def expanded(name):
    """All names that a name with ranges stands for; the inverse of grouping, written anew."""
    parts = [""]
    for component in name.split("."):
        if component[0].isdigit():
            runs = [run.split("-") for run in component.split(",")]
            choices = [str(n) for run in runs for n in range(int(run[0]), int(run[-1]) + 1)]
        else:
            choices = [component]
        parts = [f"{before}.{choice}" for before in parts for choice in choices]
    return [part.removeprefix(".") for part in parts]


def test_layers_become_ranges_in_the_order_of_the_model():
    kinds = ("attn.q.weight", "attn.o.weight", "mlp.w1.weight")
    steps = [step("embed.weight"), *(step(f"layers.{n}.{kind}") for n in range(32) for kind in kinds), step("head")]
    assert names(steps) == ["embed.weight", *(f"layers.0-31.{kind}" for kind in kinds), "head"]
    assert [len(group.members) for group in grouped_steps(steps)] == [1, 32, 32, 32, 1]


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ([0], "0"),
        ([0, 1], "0-1"),
        ([0, 1, 2, 3, 5], "0-3,5"),
        ([0, 2], "0,2"),
        ([0, 2, 4], "0,2,4"),
        ([1, 3, 5, 7, 9], "1,3,…,9"),
        ([0, 3, 4, 9, 10, 11], "0,3-4,9-11"),
    ],
)
def test_ranges(numbers, shown):
    assert ranges(numbers) == shown


def test_experts_in_layers():
    steps = [step(f"layers.{n}.experts.{e}.w1.weight") for n in range(32) for e in range(8)]
    assert names(steps) == ["layers.0-31.experts.0-7.w1.weight"]


def test_an_irregular_set_is_split_into_products():
    # Layers 0 and 2 have four experts, layer 1 has two of them, layer 3 none.
    counts = {0: 4, 1: 2, 2: 4}
    steps = [step(f"layers.{n}.experts.{e}.w") for n, count in counts.items() for e in range(count)]
    assert names(steps) == ["layers.0,2.experts.0-3.w", "layers.1.experts.0-1.w"]


@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_every_name_is_in_exactly_one_group(indices):
    every = [f"a.{m}.b.{n}.c" for m, n in indices]
    groups = grouped(every, name=str, alike=lambda _: None)
    told = [name for group in groups for name in expanded(group.name) if "…" not in group.name]
    members = [name for group in groups for name in group.members]
    assert sorted(members) == sorted(every)
    assert sorted(told) == sorted(name for group in groups if "…" not in group.name for name in group.members)


BASE = step("h.0.w", Normal(std=0.5), role="mlp up", axes=Axes.linear((8, 8)))


@pytest.mark.parametrize(
    "other",
    [
        {"shape": (8, 4), "axes": Axes.linear((8, 4))},
        {"dtype": "bfloat16"},
        {"kind": "buffer"},
        {"role": "mlp down"},
        {"axes": Axes((8, 8), outputs=(1,), inputs=(0,))},
        {"action": Keep()},
        {"action": Draw(TruncatedNormal(std=0.5))},
        {"action": Draw(Constant(0.0))},
        {"why": "another reason"},
        {"source": "another source"},
        {"persistent": False},
        {"activation": "relu"},
        {"aliases": ("tied",)},
    ],
    ids=lambda other: "+".join(other),
)
def test_what_differs_is_told_apart(other):
    assert names([BASE, replace(BASE, name="h.1.w")]) == ["h.0-1.w"]
    assert names([BASE, replace(BASE, name="h.1.w", **other)]) == ["h.0.w", "h.1.w"]


def test_zeros_and_ones_are_not_one_law():
    assert names([step("h.0.b", Constant(0.0)), step("h.1.b", Constant(1.0))]) == ["h.0.b", "h.1.b"]


def test_a_law_that_depends_on_the_layer_shows_its_range():
    steps = [
        step(
            f"h.{n}.w",
            TruncatedNormal(std=0.02 / (2 * (n + 1)) ** 0.5, corrected=True),
            why=f"layer {n}: 0.02/√{2 * (n + 1)}",
        )
        for n in range(32)
    ]
    (group,) = grouped_steps(steps)
    row = row_of(group)
    assert (row["tensor"], row["×"], row["values"]) == ("h.0-31.w", "32", "truncated normal ±2σ")
    assert row["std"] == "0.01414 … 0.0025"
    assert row["why"] == "layer 0 … 31: 0.02/√2 … 64"


def test_numbers_that_do_not_run_show_their_extremes():
    assert span(["2", "8", "4"]) == "2 … 8"
    assert span(["1,024", "16", "512"]) == "16 … 1,024"
    assert spanned(["a 1 of 3", "a 2 of 3", "a 2 of 3"]) == "a 1 … 2 of 3"
    assert masked("1e-05 and 3.5 of 1,024") == "# and # of #"


def test_numbers_inside_of_words_are_not_layers():
    assert names([step("conv1.weight"), step("conv2.weight")]) == ["conv1.weight", "conv2.weight"]
    assert names([step("h.01.w"), step("h.1.w")]) == ["h.01.w", "h.1.w"]


def test_tied_names_have_ranges_too():
    steps = [step(f"encoder.{n}.w", aliases=(f"decoder.{n}.w",)) for n in range(3)]
    (group,) = grouped_steps(steps)
    assert row_of(group)["why"] == "because; also decoder.0 … 2.w"


def test_the_table_counts_tensors_and_not_rows():
    steps = [step(f"h.{n}.w", Normal(std=0.5)) for n in range(12)]
    lines = plan_table(steps, (), 100).splitlines()
    assert lines[0].split()[:3] == ["tensor", "×", "shape"]
    assert lines[2].split()[:2] == ["h.0-11.w", "12"]
    assert lines[-1].startswith("total 12")
    assert f"{12 * prod((8, 8)):,} in parameters" in lines[-1]
    assert len(plan_table(steps, (), 100, group=False).splitlines()) == 12 + 4
    assert [group.name for group in each_alone(steps)] == [each.name for each in steps]


def test_a_model_of_96_layers_and_128_experts_groups_in_no_time():
    steps = tuple(step(f"l.{n}.e.{e}.w", Normal(std=0.5)) for n in range(96) for e in range(128))
    assert str(Plan(steps)).count("\n") == 5
