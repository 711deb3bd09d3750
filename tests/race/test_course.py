"""The data of a race: what it may be, what its targets tell, and what it must not be."""

from __future__ import annotations

from math import log, nan, sqrt
from typing import Any

import numpy as np
import pytest
import torch

from fanin.data.dataset import Dataset, Samples
from fanin.errors import DataError, UnknownNameError
from fanin.race.constant import constant_level
from fanin.race.course import course
from fanin.race.objective import OBJECTIVES, objective

FEW = np.zeros((3, 4))


def twice(targets: Any, inputs: Any = FEW) -> Any:
    return ((inputs, targets),) * 2


@pytest.mark.parametrize(
    ("targets", "task"),
    [([0, 1, 2], "classification"), ([[0, 1], [1, -100], [0, 0]], "tokens"), ([0.5, 1.0, 2.0], "regression")],
)
def test_targets_tell_the_task(targets: Any, task: str) -> None:
    made = course(twice(np.array(targets)))
    assert made.objective.task == task
    assert made.train[0].dtype == torch.float32
    assert made.train[1].dtype == (torch.float32 if task == "regression" else torch.int64)


def test_a_dataset_brings_all_it_knows() -> None:
    part = Samples(np.zeros((3, 4), np.float32), np.array([0, 1, 2]))
    made = course(Dataset("mine", part, part, "classification", {"classes": 3}, 0.9, "nowhere"))
    assert (made.name, made.target, made.sizes, made.source) == ("mine", 0.9, {"classes": 3}, "nowhere")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, r"data must be a pair \(train, test\), a Dataset or the name of one, got int"),
        ((FEW, FEW), r"training data must be a pair \(inputs, targets\), got ndarray"),
        (twice(np.zeros(2, int)), r"needs one target for each input, got targets \[2\] for inputs \[3, 4\]"),
        (twice(np.zeros(0, int), FEW[:0]), r"needs one target for each input, got targets \[0\]"),
        (twice(np.zeros(3, int), np.full((3, 4), nan)), "training inputs hold 12 non-finite values of 12: clean them"),
        (twice(np.array([1.0, nan, 2.0])), "training targets hold 1 non-finite values of 3"),
        (twice(np.array([0, -1, 2])), "training targets hold -1: classes count from 0"),
        (twice(np.full((3, 2), -100)), "none of the training targets counts: all are -100"),
    ],
)
def test_bad_data(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        course(data)


def test_targets_must_fit_the_task() -> None:
    whole, real = (Samples(FEW, np.array(each)) for each in ([0, 1, 2], [0.5, 1.0, 2.0]))
    with pytest.raises(DataError, match=r"test targets of classification must be integers, got torch.float"):
        course(Dataset("mine", whole, real, "classification", {}, None, ""))
    with pytest.raises(DataError, match=r"training targets of a regression must be floating, got torch.int64"):
        course(Dataset("mine", whole, real, "regression", {}, None, ""))
    with pytest.raises(UnknownNameError, match="unknown task 'regresion'; did you mean 'regression'"):
        objective("regresion")


def test_sums_over_chunks_are_the_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(7, 3, 5, generator=generator), torch.randint(5, (7, 3), generator=generator)
    targets[2, 1] = targets[6, 0] = -100
    asked = OBJECTIVES["tokens"]
    sums = [float(asked.loss_sum(logits[part], targets[part])) for part in (slice(0, 4), slice(4, 7))]
    assert sum(sums) / asked.count(targets) == pytest.approx(float(asked.loss(logits, targets)), rel=1e-5)
    kept = targets != -100
    by_hand = -torch.log_softmax(logits, -1)[kept, targets[kept]].mean()
    assert float(asked.loss(logits, targets)) == pytest.approx(float(by_hand), rel=1e-5)
    right = (logits.argmax(-1)[kept] == targets[kept]).double().mean()
    assert asked.score(float(asked.score_sum(logits, targets)) / asked.count(targets)) == pytest.approx(float(right))


def test_objectives_work_under_vmap() -> None:
    outputs, targets = torch.randn(3, 6, 5), torch.randint(5, (6,))
    asked = OBJECTIVES["classification"]
    for function in (asked.loss, asked.loss_sum, asked.score_sum):
        stacked = torch.func.vmap(function, (0, None))(outputs, targets)
        assert stacked.tolist() == pytest.approx([float(function(each, targets)) for each in outputs], rel=1e-6)


def test_constant_of_classes_is_the_most_frequent_one_of_training() -> None:
    made = course(((np.zeros((5, 1)), np.array([1, 1, 1, 0, 2])), (np.zeros((4, 1)), np.array([1, 0, 0, 0]))))
    level = constant_level(made)
    assert level.score == 0.25
    assert level.margin == pytest.approx(3 * sqrt(0.25 * 0.75 / 4))
    assert level.stuck(0.25, made.objective)
    assert not level.stuck(1.0, made.objective)
    assert level.stuck(nan, made.objective)


def test_constant_of_values_is_the_training_mean() -> None:
    made = course(((np.zeros((2, 1)), np.array([0.0, 2.0])), (np.zeros((2, 1)), np.array([1.0, 4.0]))))
    level = constant_level(made)
    assert level.score == pytest.approx(sqrt(4.5))
    assert level.stuck(2.11, made.objective)
    assert not level.stuck(2.0, made.objective)


def test_loss_of_uniform_logits_is_the_entropy() -> None:
    assert float(OBJECTIVES["classification"].loss(torch.zeros(4, 10), torch.arange(4))) == pytest.approx(log(10))
