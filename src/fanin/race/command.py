"""The command that races the same again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from fanin.race.settings import Settings


def command(model: Any, data: Any, recipes: Any, seeds: Sequence[int], settings: Settings, device: str = "cpu") -> str:
    """The words for a shell; "" where something has no name, or the command no option for it.

    >>> command("mnist-fc", "mnist", ["auto", "he"], (0, 1), Settings(steps=400, evaluate_every=10))
    'fanin compare mnist-fc --data mnist --recipes auto,he --seeds 2 --steps 400 --batch 64 --optimizer sgd'
    >>> command("mnist-fc", "mnist", ["auto"], (0,), Settings(200, evaluate_every=5), "cuda")[-13:]
    '--device cuda'
    """
    named = isinstance(model, str) and isinstance(data, str) and not isinstance(recipes, dict)
    if not named or not all(isinstance(each, str) for each in recipes) or tuple(seeds) != tuple(range(len(seeds))):
        return ""
    if settings != settings.lasting(settings.steps):
        return ""
    words = ["fanin", "compare", model, "--data", data, "--recipes", ",".join(recipes), "--seeds", str(len(seeds))]
    words += ["--steps", str(settings.steps), "--batch", str(settings.batch_size), "--optimizer", settings.optimizer]
    numbers = {"rate": settings.learning_rate, "clip": settings.clip, "target": settings.target}
    words += [word for name, value in numbers.items() if value is not None for word in (f"--{name}", f"{value:g}")]
    words += ["--rates", ",".join(f"{rate:g}" for rate in settings.rates)] if settings.rates else []
    words += ["--device", device] if device != "cpu" else []
    return shlex.join(words)
