"""Nothing that was trained is lost: a race goes on where it was stopped, and ends as if it never had been."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fanin.errors import DataError
from fanin.race import Moment, RaceInterrupted, RaceResult, Settings
from fanin.race.engines import train_lanes
from fanin.race.store import Store

Race = Callable[..., RaceResult]
CHOSEN = Settings(steps=12, batch_size=20, evaluate_every=5, rates=(0.003, 0.03, 0.3))


class Trained:
    """Counts the lanes that are trained, and stops after so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stop: int | None = None) -> None:
        self.lanes: list[tuple[str, int, float, int]] = []

        def counted(lanes: Any, *rest: Any, **options: Any) -> Any:
            for index, done in train_lanes(lanes, *rest, **options):
                if stop is not None and len(self.lanes) == stop:
                    raise KeyboardInterrupt
                lane = lanes[index]
                self.lanes.append((lane.start, lane.seed, lane.rate, lane.steps))
                yield index, done

        monkeypatch.setattr("fanin.race.trainer.train_lanes", counted)


def same(one: RaceResult, other: RaceResult) -> bool:
    """But for the time it took."""
    return replace(one, seconds_per_step=None) == replace(other, seconds_per_step=None)


@pytest.mark.parametrize("place", ["folder", "one.json"])
@pytest.mark.parametrize("stop", [0, 4, 15, 17, 19])
def test_an_interrupted_race_goes_on(
    place: str, stop: int, race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = race(settings=CHOSEN)
    first = Trained(monkeypatch, stop)
    with pytest.raises(RaceInterrupted) as caught:
        race(settings=CHOSEN, store=tmp_path / place)
    assert len(first.lanes) == stop
    second = Trained(monkeypatch)
    done = race(settings=CHOSEN, store=tmp_path / place)
    assert same(done, whole)
    lanes = first.lanes + second.lanes
    assert len(lanes) == len(set(lanes))  # none twice
    assert caught.value.total == 4
    assert f"they are kept in {tmp_path / place}" in str(caught.value)
    third = Trained(monkeypatch)
    again = race(settings=CHOSEN, store=tmp_path / place)
    assert third.lanes == []
    assert same(again, whole)
    assert again.seconds_per_step is not None


def test_what_is_finished_is_told(race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = race()
    Trained(monkeypatch, 3)
    with pytest.raises(RaceInterrupted, match=r"3 of 4 runs are finished; give store= a folder") as caught:
        race()
    partial = caught.value.result
    assert partial is not None
    assert not partial.complete
    assert {(run.start, run.seed) for run in partial.runs} == {("native", 0), ("he", 0), ("native", 1)}
    assert set(partial.runs) < set(whole.runs)
    assert partial.verdicts
    assert RaceResult.from_json(partial.to_json()) == partial


def test_nothing_finished_has_no_result(race: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    Trained(monkeypatch, 2)
    with pytest.raises(RaceInterrupted, match="0 of 4 runs are finished") as caught:
        race(settings=CHOSEN)
    assert caught.value.result is None


def test_an_interrupt_while_starts_are_prepared(race: Race) -> None:
    def stop(moment: Moment) -> None:
        if moment.phase == "starts":
            raise KeyboardInterrupt

    with pytest.raises(RaceInterrupted, match="0 of 4"):
        race(progress=stop)


def test_an_unfinished_run_is_not_kept(race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*arguments: Any, **options: Any) -> Any:
        for index, done in train_lanes(*arguments, **options):
            yield index, replace(done, complete=index != 1)
            if index == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("fanin.race.trainer.train_lanes", cut)
    with pytest.raises(RaceInterrupted, match="2 of 4 runs"):
        race(store=tmp_path / "kept")
    assert len(list((tmp_path / "kept").glob("*.json"))) == 1 + 2


def test_more_seeds_and_starts_use_what_is_there(race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    race(store=tmp_path / "kept")
    seen = Trained(monkeypatch)
    done = race(["he", "xavier", "native"], seeds=3, store=tmp_path / "kept")
    assert {(start, seed) for start, seed, *_ in seen.lanes} == {
        *(("xavier", seed) for seed in range(3)),
        ("he", 2),
        ("native", 2),
    }
    monkeypatch.undo()
    assert same(done, race(["he", "xavier", "native"], seeds=3))


def test_a_start_of_the_same_name_with_other_values_is_another(
    race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(std: float) -> Any:
        def start(model: nn.Module, seed: int, inputs: torch.Tensor) -> None:
            for parameter in model.parameters():
                nn.init.normal_(parameter, std=std)

        return {"own": start}

    race(own(0.1), store=tmp_path / "kept")
    seen = Trained(monkeypatch)
    race(own(0.1), store=tmp_path / "kept")
    assert seen.lanes == []
    race(own(0.2), store=tmp_path / "kept")
    assert len(seen.lanes) == 2


def test_a_pilot_is_no_run_of_the_race(race: Race, tmp_path: Path) -> None:
    """They train on less, though seed and rate may be the same."""
    race(["he"], settings=CHOSEN, store=tmp_path / "kept")
    late = race(["he"], settings=CHOSEN, seeds=[2**32], store=tmp_path / "kept")
    assert same(late, race(["he"], settings=CHOSEN, seeds=[2**32]))


def wider() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 17), nn.ReLU(), nn.Linear(17, 4))


def other_activation() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"model_factory": wider},
            r"its model is Sequential \w{8}, this one's is Sequential \w{8}: name another place",
        ),
        ({"model_factory": other_activation}, "holds the runs of another race: its model is Sequential"),
        ({"settings": Settings(steps=13, batch_size=20, learning_rate=0.05)}, r"its settings is .*'steps': 12"),
        ({"data": None}, r"its data is \w{8}, this one's is \w{8}"),
        ({"budget": 60.0}, "its settings is"),
    ],
)
def test_another_race_is_refused(change: dict[str, Any], message: str, race: Race, data: Any, tmp_path: Path) -> None:
    race(store=tmp_path / "kept")
    if "data" in change:
        (inputs, labels), test = data
        change = {"data": ((inputs + 1e-3, labels), test)}
    with pytest.raises(DataError, match=message):
        race(store=tmp_path / "kept", **change)


def test_the_target_may_change(race: Race, tmp_path: Path, short: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    race(store=tmp_path / "kept")
    seen = Trained(monkeypatch)
    assert race(store=tmp_path / "kept", settings=replace(short, target=0.3)).target == 0.3
    assert seen.lanes == []


def test_damage_is_told(race: Race, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    race(store=kept)
    runs = [path for path in sorted(kept.glob("*.json")) if path.name != "manifest.json"]
    whole = runs[0].read_text()
    for text, message in [("{", "cannot be read as a race's runs"), ("{}", "damaged run"), ("[]", "it holds a list")]:
        runs[0].write_text(text)
        with pytest.raises(DataError, match=message):
            race(store=kept)
    runs[0].write_text(whole)
    (kept / "manifest.json").write_text(json.dumps({"some": "thing"}))
    with pytest.raises(DataError, match="is no store of a race: 'fanin_store' is None, not 1"):
        race(store=kept)


def test_a_folder_that_cannot_be_made(race: Race, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made: Not a directory"):
        race(store=tmp_path / "file" / "below")


def test_files_are_written_whole(race: Race, tmp_path: Path) -> None:
    race(store=tmp_path / "kept")
    names = {path.suffix for path in (tmp_path / "kept").iterdir()}
    assert names == {".json"}
    store = Store(tmp_path / "kept", {})
    assert store.facts["trained_steps"] == 4 * 12


def test_steps_of_a_budget_are_kept(race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(batch_size=20, learning_rate=0.05)
    first = race(seeds=1, settings=settings, budget=2.0, store=tmp_path / "kept")
    assert first.settings.steps > 1
    monkeypatch.setattr("fanin.race.under_way.measured", lambda *_: pytest.fail("the speed was measured again"))
    assert same(race(seeds=1, settings=settings, budget=2.0, store=tmp_path / "kept"), first)


def test_the_engine_is_kept(race: Race, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = race(engine="auto", store=tmp_path / "kept")
    assert first.engine.startswith(("sequential", "threads", "processes", "stacked"))
    monkeypatch.setattr("fanin.race.trainer.choose_engine", lambda *_, **__: pytest.fail("chosen again"))
    assert race(engine="auto", store=tmp_path / "kept").engine == first.engine
