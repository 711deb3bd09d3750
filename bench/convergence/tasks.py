"""The ten tasks, fixed before `auto` was raced on them, and why each is one of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from convergence.task import Task, images_to_themselves
from fanin.race import Settings

CLOTHES = "fashion-mnist,train=5000,test=500,size=14"
DIGITS = "mnist"
TEXT = "text,context=32,train=4000,test=128"
SGD = (0.003, 0.01, 0.03, 0.1)
ADAM = (3e-4, 1e-3, 3e-3, 1e-2)


def _settings(rates: tuple[float, ...], steps: int, batch: int, target: float) -> Settings:
    optimizer = "sgd" if rates is SGD else "adam"
    return Settings(steps, batch, optimizer, rates=rates, evaluate_every=5, target=target)


def _tasks() -> tuple[Task, ...]:
    plain = "196-" + "64-" * 39 + "10"
    return (
        Task(
            "mnist-fc",
            "mnist-fc",
            DIGITS,
            _settings(SGD, 100, 32, 0.85),
            "he",
            deep=False,
            why="the first network of every course: one hidden layer of 500 ReLU",
        ),
        Task(
            "mnist-cnn",
            "mnist-cnn",
            DIGITS,
            _settings(SGD, 120, 32, 0.85),
            "he",
            deep=False,
            why="two convolutions with pooling",
        ),
        Task(
            "deep-relu",
            f"mlp:{plain}",
            CLOTHES,
            _settings(SGD, 150, 64, 0.65),
            "he",
            deep=True,
            why="40 dense layers of 64 ReLU: what He et al. 2015 derived their law for",
        ),
        Task(
            "deep-tanh",
            f"mlp:{plain},activation=tanh",
            CLOTHES,
            _settings(SGD, 150, 64, 0.65),
            "xavier",
            deep=True,
            why="the same with tanh: what Glorot & Bengio 2010 derived theirs for",
        ),
        Task(
            "deep-cnn",
            "cnn:depth=30,width=16,stride_at=1,head=average",
            CLOTHES,
            _settings(SGD, 150, 64, 0.5),
            "he",
            deep=True,
            why="29 convolutions of 16 channels without shortcuts, as in Xiao et al. 2018",
        ),
        Task(
            "resnet-no-norm",
            "resnet:depth=32,norm=none,width=8",
            CLOTHES,
            _settings(SGD, 120, 32, 0.6),
            "he",
            deep=True,
            why="15 residual blocks without normalisation: the case of Fixup",
        ),
        Task(
            "resnet20",
            "resnet:depth=20,width=8",
            CLOTHES,
            _settings(SGD, 120, 32, 0.65),
            "he",
            deep=False,
            why="the same kind with batch normalisation, which forgives nearly every start",
        ),
        Task(
            "gpt",
            "transformer:depth=4,width=64,tied=false",
            TEXT,
            _settings(ADAM, 150, 16, 0.3),
            "xavier",
            deep=False,
            why="a small GPT (pre-norm, learned positions) that reads characters",
        ),
        Task(
            "lstm",
            "lstm:width=64",
            DIGITS,
            _settings(ADAM, 150, 32, 0.8),
            "xavier",
            deep=False,
            why="28 steps of one row each: a recurrent network that has to remember",
        ),
        Task(
            "autoencoder",
            "autoencoder:widths=128-96-64-32-8",
            partial(images_to_themselves, CLOTHES),
            _settings(ADAM, 150, 64, 0.6),
            "he",
            deep=True,
            why="ten dense layers through a code of 8 numbers, after Hinton & Salakhutdinov 2006",
        ),
    )


TASKS: Mapping[str, Task] = MappingProxyType({task.name: task for task in _tasks()})
