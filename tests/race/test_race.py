"""The race: repeatable to the bit, the same order for all starts, failures counted, nothing judged by its test data."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf, isfinite
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin.errors import ArgumentError, DataError, UnknownNameError
from fanin.race import Moment, RaceResult, Settings, Start, compare
from fanin.race.course import course
from fanin.race.engines import Lane, train_lanes
from fanin.race.starts import Ground, start

Race = Callable[..., RaceResult]


def test_runs_repeat_bit_for_bit_and_leave_the_random_states(result: RaceResult, race: Race) -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    assert race().runs == result.runs
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_runs_do_not_depend_on_what_runs_beside_them(result: RaceResult, race: Race) -> None:
    alone = race(recipes=["he"], seeds=[1])
    assert alone.runs == (result.of("he")[1],)


@pytest.mark.parametrize("engine", ["threads", "processes", "stacked", "auto"])
def test_engines_agree(engine: str, result: RaceResult, race: Race) -> None:
    other = race(engine=engine)
    for run, expected in zip(other.runs, result.runs, strict=True):
        assert run.losses == pytest.approx(expected.losses, rel=1e-4)
        assert run.scores == pytest.approx(expected.scores, abs=0.011)  # one test sample of 100


def test_runs_are_those_asked_for(result: RaceResult) -> None:
    assert [(run.start, run.seed) for run in result.runs] == [("native", 0), ("native", 1), ("he", 0), ("he", 1)]
    run = result.runs[0]
    assert run.seen == (0, 5, 10, 12)
    assert len(run.losses) == 12
    assert len(run.scores) == len(run.test_losses) == 4
    assert len({run.losses for run in result.runs}) == 4
    assert result.seeds == (0, 1)
    assert result.complete


def test_models_with_dropout_repeat_too(race: Race) -> None:
    def dropped() -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 4))

    first, again = (race(["he"], model_factory=dropped) for _ in range(2))
    assert first.runs == again.runs


def test_all_starts_of_a_seed_see_the_same_samples_and_seeds_do_not(race: Race) -> None:
    seen: list[list[float]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and x.shape[0] == 20 and x.device.type == "cpu":
                seen.append(x.sum(1).tolist())
            return self.linear(x)

    race(model_factory=Spy, seeds=[3, 4])
    assert len(seen) == 4 * 12
    orders = [seen[at : at + 12] for at in range(0, 48, 12)]
    assert sorted(map(str, orders)).count(str(orders[0])) == 2
    assert len(set(map(str, orders))) == 2


def test_every_run_takes_the_rate_of_its_own_start(
    race: Race, monkeypatch: pytest.MonkeyPatch, short: Settings
) -> None:
    """Two starts that need other rates: the outputs of one are a thousand times smaller."""

    def tiny(model: nn.Module, seed: int, inputs: torch.Tensor) -> None:
        with torch.no_grad():
            model[2].weight.mul_(1e-3)

    lanes: list[Lane] = []

    def spied(given: Any, *rest: Any, **options: Any) -> Any:
        lanes.extend(given)
        return train_lanes(given, *rest, **options)

    monkeypatch.setattr("fanin.race.trainer.train_lanes", spied)
    settings = Settings(steps=12, batch_size=20, evaluate_every=5, rates=(0.001, 0.03, 1.0))
    done = race({"tiny": tiny, "he": "he"}, settings=settings)
    rates = {choice.start: choice.rate for choice in done.choices}
    raced = {(lane.start, lane.rate) for lane in lanes if lane.seed in (0, 1)}
    assert raced == set(rates.items())
    assert {run.rate for run in done.of("tiny")} == {rates["tiny"]}


def test_pilots_have_other_seeds_and_never_see_the_test_data(race: Race, data: Any) -> None:
    """The rates stay what they are when the test labels are shuffled: nothing is chosen by what it is scored on."""
    settings = Settings(steps=12, batch_size=20, evaluate_every=5, rates=(0.003, 0.03, 0.3))
    train, (inputs, labels) = data
    first = race(settings=settings)
    shuffled = race(settings=settings, data=(train, (inputs, labels.flip(0))))
    assert first.choices == shuffled.choices
    assert [run.losses for run in first.runs] == [run.losses for run in shuffled.runs]
    assert first.runs != shuffled.runs
    # And what is raced is trained as if no pilot had ever flown.
    rate = first.choices[1].rate
    plain = race(["he"], settings=Settings(steps=12, batch_size=20, evaluate_every=5, learning_rate=rate))
    assert plain.runs == first.of("he")


def test_it_learns_and_says_when(race: Race) -> None:
    settings = Settings(steps=60, batch_size=20, target=0.8, learning_rate=0.05)
    (standing,) = race(["he"], seeds=[0], settings=settings).standings
    assert standing.reached == 1
    assert standing.steps_to_target in range(10, 61, 10)
    assert standing.score > 0.8
    assert standing.interval is None
    assert standing.seconds_to_target is not None


def test_divergence_is_counted_and_said(race: Race) -> None:
    settings = Settings(steps=30, batch_size=20, learning_rate=1e20)
    done = race(["he", "native"], seeds=[0], settings=settings)
    assert done.runs[0].diverged
    assert done.runs[0].losses[-1] == inf
    assert len(done.runs[0].losses) < 30
    assert done.standings[0].diverged == 1
    assert done.standings[0].score == done.level.score
    assert done.comparisons[0].p == 1
    assert RaceResult.from_json(done.to_json()) == done


def test_constant_labels_leave_every_run_stuck(race: Race, data: Any) -> None:
    """No run can be better than predicting a constant where there is nothing else to predict."""
    (train, _), (test, _) = data
    zeros = torch.zeros(200, dtype=torch.long)
    done = race(["he"], data=((train, zeros), (test, zeros[:100])))
    assert done.level.score == 1
    assert [row.stuck for row in done.standings] == [2]


def test_regression_is_scored_by_rmse(race: Race) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 8, generator=generator)
    targets = inputs[:, :2] * 2
    data = (inputs[:200], targets[:200]), (inputs[200:], targets[200:])
    settings = Settings(steps=60, batch_size=20, optimizer="adam", learning_rate=0.1)
    done = race(model_factory=lambda: nn.Linear(8, 2), data=data, settings=settings)
    assert done.objective.score_name == "RMSE"
    assert done.level.score == pytest.approx(float(targets[200:].std(correction=0)), rel=0.1)
    assert all(run.scores[-1] < 0.5 * run.scores[0] for run in done.runs)
    assert all(row.reached for row in done.standings)
    assert done.target_rule == "runs"
    run = done.runs[0]
    assert run.scores[-1] == pytest.approx(run.test_losses[-1] ** 0.5)
    assert "RMSE" in done.verdicts[0]


def test_tokens_ignore_what_does_not_count(race: Race) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(6, (120, 5), generator=generator)
    targets = tokens.roll(1, 1).clone()
    targets[:, 0] = -100
    data = (tokens[:80], targets[:80]), (tokens[80:], targets[80:])

    def model() -> nn.Module:
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.table, self.out = nn.Embedding(6, 16), nn.Linear(32, 6)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                seen = self.table(x)
                return self.out(torch.cat([seen, seen.roll(1, 1)], -1))

        return Both()

    settings = Settings(steps=80, batch_size=20, optimizer="adam", learning_rate=0.02)
    done = race(["native"], model_factory=model, data=data, settings=settings)
    assert done.task == "tokens"
    assert min(run.final_score for run in done.runs) > 0.95


def test_a_function_is_a_start_and_the_random_states_stay(race: Race) -> None:
    def mine(model: nn.Module, seed: int, inputs: torch.Tensor) -> None:
        assert inputs.shape == (200, 8)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.1 + 1e-3 * float(np.random.rand()) + 1e-3 * random.random())

    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = race([mine, "he"])
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    assert race([mine, "he"], seeds=[1, 0]).of("mine")[::-1] == first.of("mine")
    assert first.starts == ("mine", "he")
    random.setstate(before[1])
    torch.set_rng_state(before[0])
    race([mine])
    assert random.getstate() == before[1]
    assert torch.equal(torch.get_rng_state(), before[0])


def test_what_a_function_draws_depends_on_the_seed_alone(data: Any) -> None:
    build = start(lambda model, seed, inputs: None, "own").prepare(Ground(lambda: nn.Linear(8, 4), course(data)))
    torch.manual_seed(1)
    first = build(3).weight
    torch.manual_seed(2)
    assert torch.equal(build(3).weight, first)
    assert not torch.equal(build(4).weight, first)


def test_lsuv_recipes_and_starts(race: Race) -> None:
    recipe = fanin.recipes.named("xavier")
    own = Start("own", lambda ground: lambda seed: ground.factory())
    done = race(["lsuv", recipe, own])
    assert done.starts == ("lsuv", "xavier", "own")
    assert all(isfinite(run.losses[-1]) for run in done.runs)
    # LSUV: unit variance of the logits on the batch, so the first test loss of seeds differs little from entropy.
    assert done.of("lsuv")[0].test_losses[0] < 3


def test_a_name_gets_the_sizes_of_the_data() -> None:
    dataset = fanin.data.load("digits")
    done = compare("mlp", dataset, ["he"], 1, settings=Settings(steps=3, learning_rate=0.1))
    assert done.model == "mlp"
    assert done.data == dataset.name
    assert compare("mlp", "digits", ["he"], 1, settings=Settings(steps=3, learning_rate=0.1)).runs == done.runs


def test_progress_is_told(race: Race) -> None:
    told: list[Moment] = []
    settings = Settings(steps=12, batch_size=20, evaluate_every=5, rates=(0.01, 0.1))
    race(progress=told.append, settings=settings)
    phases = [moment.phase for moment in told]
    assert list(dict.fromkeys(phases)) == ["data", "starts", "rates", "race"]
    last = told[-1]
    assert (last.done, last.finished, last.total) == (1.0, 4, 4)
    assert last.best.split()[0] in ("native", "he")
    for phase in ("rates", "race"):
        shares = [moment.done for moment in told if moment.phase == phase]
        assert max(shares) == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "a race needs at least one seed, got 0"),
        ({"seeds": ["1"]}, "seeds are a whole number of them, or whole numbers: 'str' object"),
        ({"seeds": [1, 1]}, r"seeds are different whole numbers from 0, got \[1, 1\]"),
        ({"seeds": [-1]}, r"seeds are different whole numbers from 0, got \[-1\]"),
        ({"pilots": 0}, "pilots must be at least 1, got 0"),
        ({"budget": -1.0}, "budget must be positive seconds, got -1.0"),
        ({"settings": {"steps": 0}}, "steps must be at least 1, got 0"),
        ({"settings": {"target": -0.1}}, "target must be positive, got -0.1"),
        ({"settings": {"learning_rate": 0.0}}, "learning_rate must be positive, got 0.0"),
        ({"settings": {"rates": (0.1, -0.1)}}, "rates must be positive, got -0.1"),
        ({"settings": {"rates": (0.1, 0.1)}}, r"rates must differ, got \[0.1, 0.1\]"),
        ({"settings": {"rates": (0.1,), "learning_rate": 0.1}}, "give one of them"),
        ({"settings": {"clip": float("nan")}}, "clip must be positive, got nan"),
        ({"recipes": ["he", "he"]}, r"a race needs one or more different recipes, got \['he', 'he'\]"),
        ({"recipes": []}, "a race needs one or more different recipes"),
        ({"recipes": "he"}, r"recipes is a list or a mapping, got the text 'he': write \['he'\]"),
        ({"recipes": [lambda model, seed, inputs: None]}, "a start needs a name: give a mapping"),
        ({"recipes": [3]}, "a start is a recipe, its name, 'lsuv' or a function, got int"),
        ({"device": "abacus"}, "device 'abacus' cannot be used here: .*abacus.*; 'cpu' always can"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here: "),
        ({"model_factory": nn.Linear(8, 4)}, "the model is its name or a function that builds it, got Linear"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str, race: Race) -> None:
    with pytest.raises(ArgumentError, match=message):
        race(**{key: Settings(**value) if key == "settings" else value for key, value in options.items()})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipes": ["xaver"]}, "unknown recipe 'xaver'; did you mean 'xavier'"),
        ({"model_factory": "mpl"}, "unknown model 'mpl'"),
        ({"data": "digist"}, "unknown data set 'digist'; did you mean 'digits'"),
        ({"engine": "warp"}, "unknown engine 'warp'"),
    ],
)
def test_unknown_names(options: dict[str, Any], message: str, race: Race) -> None:
    with pytest.raises(UnknownNameError, match=message):
        race(**options)
    with pytest.raises(UnknownNameError, match="unknown optimizer 'lion'"):
        Settings(optimizer="lion")  # pyright: ignore


def test_a_model_that_fails_says_what_it_was_given(race: Race) -> None:
    with pytest.raises(
        DataError, match=r"the model does not take the inputs \[2, 8\] \(float32\) of the data: Runtime"
    ):
        race(model_factory=lambda: nn.Linear(9, 4))
    with pytest.raises(DataError, match="the model cannot be built: ZeroDivisionError: "):
        race(model_factory=lambda: nn.Linear(1 // 0, 4))
    with pytest.raises(DataError, match="own must return one tensor to be trained, it returns tuple"):
        race(model_factory=lambda: nn.LSTM(8, 4), name="own")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (3, r"does not fit the data: logits \[2, 3\] \(float32\) tell 3 classes apart, but the labels go up to 3"),
        ((2, 4), r"logits \[2, 2, 4\] \(float32\) for labels \[2\] \(int64\); they must be \[n, classes\]"),
    ],
)
def test_a_model_that_does_not_fit_names_both_shapes(outputs: Any, message: str, race: Race) -> None:
    def model() -> nn.Module:
        if isinstance(outputs, int):
            return nn.Linear(8, outputs)
        return nn.Sequential(nn.Linear(8, 8), nn.Unflatten(1, outputs))

    with pytest.raises(DataError, match=message):
        race(model_factory=model)


def test_values_need_outputs_of_their_shape(race: Race) -> None:
    data = ((torch.randn(30, 8), torch.randn(30, 3)),) * 2
    with pytest.raises(DataError, match=r"outputs \[2, 4\] \(float32\) for targets \[2, 3\]"):
        race(data=data)
