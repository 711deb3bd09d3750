"""What was raced is not lost, not mistaken for another race's, and takes the time that it was given."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fanin.cli import run
from fanin.errors import DataError, WeightsError
from fanin.race import RaceResult, Settings
from fanin.race.engines import train_lanes
from fanin.race.store import sources, values_digest

Race = Callable[..., RaceResult]
Fanin = Callable[..., Any]
OWN = """
from torch import nn

class Base(nn.Module):
    def forward(self, x):
        return self.linear(x){change}

class Own(Base):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 4)
"""


@pytest.fixture
def fanin(capsys: pytest.CaptureFixture[str]) -> Fanin:
    """A short `fanin compare`, with more arguments."""
    pytest.importorskip("sklearn")  # ships the digits
    words = "compare mlp:64-16-10 --data digits,train=200,test=100 --steps 5 --seeds 2 --engine sequential -r he"

    def command(*arguments: object) -> Any:
        capsys.readouterr()
        code = run([*words.split(), "--rate", "0.1", *map(str, arguments)])
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, error=" ".join(printed.err.split()))

    return command


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The lanes that are trained from here on."""
    lanes: list[Any] = []

    def seen(given: Any, *rest: Any, **options: Any) -> Any:
        lanes.extend(given)
        return train_lanes(given, *rest, **options)

    monkeypatch.setattr("fanin.race.trainer.train_lanes", seen)
    return lanes


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[[], nn.Module]]:
    """A user's model from a file, whose base class is edited."""

    def load(change: str) -> Callable[[], nn.Module]:
        file = tmp_path / f"edited{len(list(tmp_path.glob('*.py')))}.py"
        file.write_text(OWN.format(change=change))
        spec = importlib.util.spec_from_file_location("users_model", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "users_model", module)
        spec.loader.exec_module(module)
        return module.Own

    return load


def test_the_result_goes_into_the_folder_of_the_runs(fanin: Fanin, tmp_path: Path, trained: list[Any]) -> None:
    words = ("--resume", tmp_path / "runs", "-o", f"{tmp_path / 'runs'}/")
    assert fanin(*words).code == 0
    first = (tmp_path / "runs" / "race.json").read_text()
    trained.clear()
    done = fanin(*words)
    assert (done.code, done.error, trained) == (0, "", [])
    assert RaceResult.from_json(first).runs == RaceResult.from_json((tmp_path / "runs" / "race.json").read_text()).runs


def test_a_store_made_before_is_read_and_gets_the_new_name(race: Race, tmp_path: Path, trained: list[Any]) -> None:
    first = race(store=tmp_path)
    (tmp_path / "manifest.json").rename(tmp_path / "race.json")
    trained.clear()
    assert race(store=tmp_path).runs == first.runs
    assert trained == []
    (tmp_path / "race.json").write_text(first.to_json())
    assert race(store=tmp_path).runs == first.runs
    assert trained == []
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "race.json").write_text(json.dumps({"fanin_store": 1, "race": {"model": "other"}, "facts": {}}))
    with pytest.raises(DataError, match="holds the runs of another race: its model is other"):
        race(store=tmp_path)


@pytest.mark.parametrize(
    ("store", "output"), [("one.json", "one.json"), ("runs", "runs/manifest.json"), ("a.html", "./x/../a.html")]
)
def test_the_result_never_replaces_the_store(
    store: str, output: str, fanin: Fanin, tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    done = fanin("--resume", store, "-o", output)
    assert done.code == 2
    assert f"--resume {store} keeps the finished runs there, which the result would replace" in done.error
    assert trained == []


@pytest.mark.parametrize(
    ("held", "missing"), [({}, "no race and no facts"), ({"race": {}, "facts": {}, "runs": []}, "no runs")]
)
def test_a_damaged_store_is_told(held: dict[str, Any], missing: str, race: Race, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps({"fanin_store": 1} | held))
    with pytest.raises(DataError, match=rf"one.json is a damaged store of a race: it holds {missing}: remove it"):
        race(store=tmp_path / "one.json")


def test_a_model_whose_code_was_edited_is_another(
    own: Callable[[str], Callable[[], nn.Module]], race: Race, tmp_path: Path, trained: list[Any]
) -> None:
    place = tmp_path / "kept"
    first = race(model_factory=own(""), store=place)
    trained.clear()
    assert race(model_factory=own(""), store=place).runs == first.runs
    assert trained == []
    with pytest.raises(DataError, match=r"another race: its model is Own \w{8}, this one's is Own \w{8}"):
        race(model_factory=own(" * 0.5"), store=place)


def test_values_of_edited_code_are_others(own: Callable[[str], Callable[[], nn.Module]]) -> None:
    first = own("")()
    digest = values_digest(first)
    other = own(" * 0.5")()
    other.load_state_dict(first.state_dict())
    assert repr(other) == repr(first)
    assert values_digest(other) != digest


def test_code_that_cannot_be_found_and_that_of_fanin_count_for_nothing() -> None:
    import fanin as library

    typed: dict[str, Any] = {"nn": nn}
    exec("class Typed(nn.Module): pass", typed)
    assert sources(nn.Sequential(typed["Typed"](), nn.ReLU())) == []
    assert sources(library.models.factory("resnet:depth=20,shape=3x32x32,classes=10")()) == []


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_file_that_fails_loses_neither_the_table_nor_the_other_files(
    interrupted: bool, fanin: Fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(result: RaceResult, path: Path) -> None:
        raise WeightsError("cannot be written: the disk is full", path=path)

    def stopped(*arguments: Any, **options: Any) -> Any:
        for done, pair in enumerate(train_lanes(*arguments, **options)):
            if done == 1:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(RaceResult, "to_html", full)
    if interrupted:
        monkeypatch.setattr("fanin.race.trainer.train_lanes", stopped)
    done = fanin("-o", tmp_path / "a.html", "-o", tmp_path / "a.json", "-o", tmp_path / "b.html")
    assert done.code == 2
    assert "a.html" in done.error
    assert "cannot be written: the disk is full" in done.error
    assert ("Interrupted: 1 of 2" in done.error) == interrupted
    assert done.out.splitlines()[4].split()[0] == "he"
    assert len(RaceResult.from_json((tmp_path / "a.json").read_text()).runs) == 2 - interrupted


def test_a_closed_pipe_does_not_lose_the_files(fanin: Fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*arguments: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("fanin.cli.compare.show", closed)
    with pytest.raises(BrokenPipeError):
        fanin("-o", tmp_path / "a.json")
    assert (tmp_path / "a.json").exists()


def test_a_folder_that_takes_no_files_is_told_before_the_race(
    fanin: Fanin, tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(dir: Path) -> None:
        raise FileNotFoundError

    monkeypatch.setattr("fanin.cli.race_files.TemporaryFile", refused)
    done = fanin("-o", tmp_path / "race.html")
    assert done.code == 2
    assert f"cannot be written: no file can be made in the folder {str(tmp_path)!r}" in done.error
    assert trained == []


def bad(model: nn.Module, seed: int, inputs: torch.Tensor) -> None:
    """Its first loss is infinite."""
    for parameter in model.parameters():
        nn.init.constant_(parameter, inf)


BUDGETED = Settings(batch_size=20, learning_rate=1e20)


def test_the_speed_is_that_of_a_start_that_lasts(
    race: Race, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_steps(lanes: int, budget: float, run: Callable[[int], float]) -> Any:
        run(2)
        return SimpleNamespace(step=1e-3, look=1e-3, of=lambda steps: 1e-3)

    monkeypatch.setattr("fanin.race.under_way.measured", two_steps)
    race({"bad": bad, "he": "he", "native": "native"}, settings=BUDGETED, budget=2.0)
    probes = [lane for lane in trained if lane.steps == 2]
    assert list(dict.fromkeys(lane.start for lane in probes)) == ["bad", "he"]
    # The probes do not diverge as the runs do, at a rate of 1e20.
    assert {lane.rate for lane in probes} == {1e-12}


def test_where_no_start_lasts_the_slowest_tells(race: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    from fanin.race.budget import Speed

    speeds = iter([Speed(1e-3, 1e-3), Speed(4e-3, 1e-3), Speed(2e-3, 1e-3)])

    def probed(lanes: int, budget: float, run: Callable[[int], float]) -> Speed:
        run(2)
        return next(speeds)

    seen: list[Speed] = []

    def fitted(budget: float, spent: float, speed: Speed, *rest: Any) -> int:
        seen.append(speed)
        return 3

    monkeypatch.setattr("fanin.race.under_way.measured", probed)
    monkeypatch.setattr("fanin.race.under_way.fitting_steps", fitted)
    race({"bad": bad, "worse": bad, "worst": bad}, settings=BUDGETED, budget=2.0)
    assert seen == [Speed(4e-3, 1e-3)]
