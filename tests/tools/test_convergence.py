"""The benchmark behind docs/convergence.md: its tasks, one small race, its verdicts and its page."""

import importlib
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

import fanin.models
from fanin.race import RaceResult, Run, Settings
from fanin.torch.planning import plan

FOLDER = Path(__file__).parents[2] / "bench"


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield lambda name: importlib.import_module(f"convergence.{name}")
    for name in [each for each in sys.modules if each == "rows" or each.split(".")[0] == "convergence"]:
        del sys.modules[name]


def tiny(tool):
    settings = Settings(steps=6, batch_size=16, rates=(0.03, 0.1), evaluate_every=3, target=0.3)
    task = tool("tasks").TASKS["mnist-fc"]
    return replace(task, name="tiny", model="mlp:64-16-10", data="digits,train=300,test=60", settings=settings)


def test_ten_tasks_each_with_a_reason(tool):
    tasks = tool("tasks").TASKS
    assert len(tasks) == 10
    assert len({(task.model, str(task.data)) for task in tasks.values()}) == 10
    assert all(task.why and task.usual in ("he", "xavier") and task.settings.target for task in tasks.values())
    assert sum(task.deep for task in tasks.values()) == 5


def test_a_task_is_deep_where_its_model_has_many_weights_and_no_norm(tool):
    sizes = {"classes": 10, "inputs": 28, "vocabulary": 30, "context": 32}
    for task in tool("tasks").TASKS.values():
        side = 28 if task.data == tool("tasks").DIGITS else 14
        model = fanin.models.factory(task.model, sizes=sizes | {"shape": (1, side, side)})()
        names = [name for name, each in model.named_parameters() if each.ndim > 1]
        norms = any("Norm" in type(module).__name__ for module in model.modules())
        assert task.deep == (len(names) >= 10 and not norms), task.name


def test_images_are_their_own_targets(tool):
    data = tool("task").images_to_themselves("digits,train=20,test=10")
    assert data.task == "regression"
    assert data.test.targets is data.test.inputs


def test_a_small_race_is_told_whole_and_goes_on_from_its_store(tool, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    task = tiny(tool)
    raced = tool("racing").race(task, 2, tmp_path, engine="sequential", pilots=1)
    starts = ["torch default", "auto", "He", "LSUV"]
    assert list(raced.result.starts)[:4] == starts
    assert (raced.anyinit == "not installed") == (find_spec("anyinit") is None)
    assert raced.result.settings.steps == 6
    assert [len(raced.result.of(start)) for start in starts] == [2] * 4
    assert RaceResult.from_json((tmp_path / "tiny" / "result.json").read_text()) == raced.result
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny" / "runs").glob("*[0-9a-f].json")}
    again = tool("racing").race(task, 2, tmp_path, engine="sequential", pilots=1)
    assert again.result.runs == raced.result.runs
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items() if path.name != "race.json")
    text, reached = tool("page").section([raced])
    assert not reached
    for start in starts:
        assert f"| tiny (accuracy 30.0 %) | {start} |" in text
    if raced.anyinit:
        assert "AnyInit: not installed" in text


def test_an_anyinit_that_raises_is_named(tool):
    def broken(model, seed, inputs):
        raise TypeError("no")

    assert tool("starts").problem_of(tiny(tool), broken) == "raises TypeError"
    assert tool("starts").problem_of(tiny(tool), lambda *_: None) == ""


def raced_from(tool, steps, name="deep-relu"):
    """A race of which each start reaches the target after so many steps; None: never."""
    runs = tuple(
        Run(start, seed, 0.1, (1.0,) * 9, tuple(range(10)), (1.0,) * 10, scores(at))
        for start, row in steps.items()
        for seed, at in enumerate(row)
    )
    task = tool("tasks").TASKS[name]
    seeds = tuple(range(len(runs) // len(steps)))
    return tool("racing").Raced(task, RaceResult("m", task.settings, runs, target=0.5, seeds=seeds), "")


def scores(at):
    return tuple(0.6 if at is not None and step >= at else 0.1 for step in range(10))


@pytest.mark.parametrize(
    ("default", "auto", "said"),
    [
        ([None] * 8, [2, 3, 4, 2, 3, 4, 2, 3], "better"),
        ([3, 4, 5, 3, 4, 5, 3, 4], [4, 6, 9, 5, 7, 6, 6, 5], "worse"),
        ([3, 4, 5, 3, 4, 5, 3, 4], [4, 3, 6, 2, 5, 4, 4, 3], "even"),
        ([3] * 5, [1] * 5, "even"),  # five seeds cannot tell: p = 1/16
        ([None] * 8, [None] * 8, "even"),
    ],
)
def test_verdicts_by_steps(tool, default, auto, said):
    raced = raced_from(tool, {"torch default": default, "auto": auto})
    (verdict,) = tool("verdicts").verdicts(raced)
    assert verdict.said == said
    assert verdict.measure == ("score" if default[0] is None and auto[0] is None else "steps")
    assert verdict.wins + verdict.losses <= len(default)
    assert verdict.end == ("better" if said == "better" else "even")


def test_what_is_wanted_of_auto(tool):
    verdicts = tool("verdicts")
    won = verdicts.Verdict("a", deep=True, against="torch default", p=0.01, better=1, wins=8, losses=0, measure="steps")
    even = replace(won, deep=False, p=0.3)
    assert verdicts.reached([won] * 5 + [even] * 5)
    assert not verdicts.reached([won] * 4 + [even] * 6)
    assert not verdicts.reached([won] * 5 + [replace(even, deep=True)])
    assert not verdicts.reached([won] * 5 + [replace(won, deep=False, better=-1)])
    assert verdicts.reached([won] * 5 + [replace(won, deep=False, better=-1, against="LSUV")])


def test_the_page_keeps_what_is_written_by_hand(tool, tmp_path, monkeypatch):
    page = tool("page")
    path = tmp_path / "convergence.md"
    path.write_text(f"before\n\n{page.BEGIN}\nold\n\n{page.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", path)
    page.renew("new")
    assert path.read_text(encoding="utf-8") == f"before\n\n{page.BEGIN}\nnew\n\n{page.END}\nafter\n"


def test_deep_tanh_is_planned_as_critical(tool):
    task = tool("tasks").TASKS["deep-tanh"]
    model = fanin.models.factory(task.model)()
    laws = [[step.initializer for step in plan(model, recipe).steps] for recipe in ("auto", "critical")]
    assert laws[0] == laws[1]
