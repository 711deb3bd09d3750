"""load: what goes where, what is drawn, what is kept, and what is said about it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fanin
from fanin import ArgumentError, PlanError, UnknownNameError, WeightsError
from fanin.plans import Plan
from fanin.plans.steps import Copy


class Net(nn.Module):
    """A body, a head, running statistics, a scratch buffer."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 6))
        self.head = nn.Linear(6, outputs)
        self.register_buffer("scratch", torch.full((2,), 7.0), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x))


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def untouched(model: nn.Module, weights: object, **options: object) -> str:
    """The text of the error, after which every bit of the model is as it was and nothing is locked."""
    before = copy.deepcopy(model.state_dict())
    versions = [tensor._version for tensor in model.parameters()]
    with pytest.raises((WeightsError, PlanError, ArgumentError)) as caught:
        fanin.load(model, weights, **options)
    assert all(torch.equal(value.nan_to_num(), before[name].nan_to_num()) for name, value in model.state_dict().items())
    assert versions == [tensor._version for tensor in model.parameters()]
    assert fanin.unkeep(model) == ()
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_file(state(Net()), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_everything_that_fits_is_loaded(path: Path) -> None:
    model = Net()
    ledger = fanin.load(model, path)
    assert all(torch.equal(value, fanin.open_weights(path)[name]) for name, value in model.state_dict().items())
    assert [entry.name for entry in ledger.loaded] == list(model.state_dict())
    assert (ledger.drawn, ledger.adapted, ledger.unused) == ((), (), ())
    assert [(entry.name, entry.why) for entry in ledger.kept] == [("scratch", "a buffer that no file holds")]
    assert set(ledger.locked) == set(model.state_dict())


def test_what_the_file_lacks_is_drawn_by_the_recipe_and_never_left_empty(tmp_path: Path) -> None:
    """F2: heads full of 1e37 or NaN, since missing keys stayed torch.empty."""
    save_file({name: value for name, value in state(Net()).items() if "head" not in name}, tmp_path / "a.safetensors")
    model = Net()
    for tensor in model.parameters():
        tensor.data.fill_(float("nan"))
    ledger = fanin.load(model, tmp_path / "a.safetensors", recipe="he", seed=5)
    assert [entry.name for entry in ledger.drawn] == ["head.weight", "head.bias"]
    twin = Net()
    plan = fanin.plan(twin, "he")
    fanin.materialize(twin, plan, seed=5)
    assert torch.equal(model.head.weight, twin.head.weight)
    assert ledger.plan["head.weight"].initializer == plan["head.weight"].initializer
    assert all(bool(tensor.isfinite().all()) for tensor in model.parameters())


def test_a_missing_tensor_has_the_authors_law_by_default(tmp_path: Path) -> None:
    save_file({"body.0.weight": torch.ones(5, 4)}, tmp_path / "a.safetensors")
    model = Net()
    fanin.load(model, tmp_path / "a.safetensors", seed=3)
    assert model.body[1].running_var.tolist() == [1.0] * 5
    assert 0 < float(model.head.weight.detach().abs().max()) <= 6**-0.5
    again = Net()
    fanin.load(again, tmp_path / "a.safetensors", seed=3)
    assert torch.equal(model.head.weight, again.head.weight)


def test_a_tensor_of_another_shape_is_an_error_that_says_what_would_fit(path: Path) -> None:
    """J1: strict=False still raises on shape, and says no way out."""
    assert untouched(Net(7), path) == (
        f"{path}: 2 tensors do not fit: 'head.weight' has shape [3, 6], the model wants [7, 6] (policy pad or tile "
        "would fit it); 'head.bias' has shape [3], the model wants [7] (policy pad or tile would fit it). Say with "
        "policy= what to do, for all or by pattern, as {'classifier': 'redraw', '*position*': 'resample'}"
    )


def test_one_pattern_for_the_head(path: Path) -> None:
    model = Net(7)
    ledger = fanin.load(model, path, policy={"head": "redraw"})
    assert [entry.name for entry in ledger.drawn] == ["head.weight", "head.bias"]
    assert ledger["head.weight"].why.startswith("the file's has shape [3, 6]; policy redraw")
    assert torch.equal(model.body[0].weight, fanin.open_weights(path)["body.0.weight"])


@pytest.mark.parametrize(
    ("policy", "outputs", "expected"),
    [
        ("slice", 2, lambda old: old[:2]),
        ("pad", 5, lambda old: torch.cat([old, torch.zeros(2, 6)])),
        ("pad:mean", 4, lambda old: torch.cat([old, old.mean(0, keepdim=True)])),
        ("tile", 7, lambda old: old[[0, 1, 2, 0, 1, 2, 0]]),
    ],
)
def test_policies_that_change_values(path: Path, policy: str, outputs: int, expected: object) -> None:
    model = Net(outputs)
    ledger = fanin.load(model, path, policy={"head": policy})
    assert torch.allclose(model.head.weight, expected(fanin.open_weights(path)["head.weight"]), rtol=1e-6)
    assert [entry.name for entry in ledger.adapted] == ["head.weight", "head.bias"]
    assert ledger.plan["head.weight"].source == f"policy {policy.partition(':')[0]}"
    assert "head.weight" in ledger.locked


def test_rows_that_the_file_lacks_may_be_drawn(path: Path) -> None:
    model, twin = Net(7), Net(7)
    fanin.load(model, path, policy={"head": "pad:drawn"}, recipe="he", seed=11)
    fanin.initialize(twin, "he", seed=11)
    stored = fanin.open_weights(path)["head.weight"]
    assert torch.equal(model.head.weight, torch.cat([stored, twin.head.weight[3:]]))


def test_keep_and_skip(path: Path) -> None:
    model = Net(7)
    before = model.head.weight.detach().clone()
    ledger = fanin.load(model, path, policy={"head": "keep", "body.2": "skip"}, seed=4)
    assert torch.equal(model.head.weight, before)
    assert [entry.name for entry in ledger.kept] == ["scratch", "head.weight", "head.bias"]
    assert [entry.name for entry in ledger.drawn] == ["body.2.weight", "body.2.bias"]
    assert [(each.key, each.why) for each in ledger.unused] == [
        ("body.2.weight", "skipped: the policy of body.2.weight"),
        ("body.2.bias", "skipped: the policy of body.2.bias"),
        ("head.weight", "has another shape than head.weight"),
        ("head.bias", "has another shape than head.bias"),
    ]


@pytest.mark.parametrize(
    ("policy", "outputs", "text"),
    [
        ("slice", 7, "and policy slice cannot make it: a dimension is too short to be sliced"),
        ("pad", 2, "and policy pad cannot make it: a dimension is too long to be padded"),
        ("tile", 2, "and policy tile cannot make it: a dimension is too long to be repeated"),
        ("adapt-channels", 7, "only the input channels of a convolution, or its frames, can be adapted"),
        ("resample", 7, "its role is "),
    ],
)
def test_policies_that_cannot(path: Path, policy: str, outputs: int, text: str) -> None:
    assert text in untouched(Net(outputs), path, policy={"head.weight": policy, "head.bias": "redraw"})


def test_policies_that_mean_nothing(path: Path) -> None:
    for policy in ("stretch", {"head": "stretch"}):
        with pytest.raises(UnknownNameError, match=r"unknown policy 'stretch'\. Known: adapt-channels, error"):
            fanin.load(Net(), path, policy=policy)
    with pytest.raises(UnknownNameError, match="unknown tensor or module 'haed'; did you mean 'head"):
        fanin.load(Net(), path, policy={"haed": "redraw"})
    for policy in ("pad:random", "slice:3", "resample:4-", "resample:14x14-16", "resample:0-3"):
        with pytest.raises(ArgumentError, match="policy"):
            fanin.load(Net(), path, policy=policy)
    with pytest.raises(ArgumentError, match="a policy is a name or a mapping"):
        fanin.load(Net(), path, policy={"head": 3})


def test_what_has_no_place_is_listed_and_fatal_only_when_asked(path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 5))
    ledger = fanin.load(model, path, rename={r"^body\.": ""})
    assert {"head.weight", "2.weight"} & {each.key for each in ledger.unused} == {"head.weight"}
    assert sum(each.bytes for each in ledger.unused) == sum(v.nbytes for v in state(Net()).values()) - 4 * (20 + 5)
    text = untouched(nn.Sequential(nn.Linear(4, 5)), path, rename={r"^body\.": ""}, strict=True)
    assert text.startswith(f"{path}: does not fit the model: the model has no 'body.1.bias'")


def test_a_file_of_another_model(path: Path) -> None:
    text = untouched(nn.Sequential(nn.Conv2d(1, 2, 3)), {"a.b": torch.ones(2), "c.d": torch.ones(2)})
    assert text == (
        "memory: has no tensor under a name of the model: it has 'a.b', 'c.d', the model '0.weight', '0.bias'. Say "
        "with rename= which is which"
    )


def test_rename_and_prefix(path: Path) -> None:
    body = Net().body
    ledger = fanin.load(body, path)
    assert torch.equal(body[0].weight, fanin.open_weights(path)["body.0.weight"])
    assert ledger["0.weight"].key == "body.0.weight"
    wrapped = {f"module.{name}": value for name, value in state(Net()).items()}
    assert len(fanin.load(Net(), wrapped).loaded) == len(wrapped)


def test_several_files_in_order(path: Path, tmp_path: Path) -> None:
    other = {"head.weight": torch.full((3, 6), 2.0), "body.0.bias": torch.full((5,), 3.0)}
    save_file(other, tmp_path / "head.safetensors")
    model = Net()
    ledger = fanin.load(model, [path, tmp_path / "head.safetensors"])
    assert torch.equal(model.head.weight, other["head.weight"])
    assert torch.equal(model.body[0].bias, other["body.0.bias"])
    assert torch.equal(model.head.bias, fanin.open_weights(path)["head.bias"])
    assert {(each.key, each.why) for each in ledger.unused} == {
        ("head.weight", "head.safetensors has it too"),
        ("body.0.bias", "head.safetensors has it too"),
    }
    assert ledger["head.weight"].source == str(tmp_path / "head.safetensors")


def test_only_and_ignore(path: Path) -> None:
    model = Net(7)
    before = state(model)
    ledger = fanin.load(model, path, only="body")
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in ("head.weight", "head.bias"))
    assert {entry.name for entry in ledger.kept} == {"head.weight", "head.bias", "scratch"}
    assert {each.key for each in ledger.unused} == {"head.weight", "head.bias"}
    ledger = fanin.load(Net(), path, ignore=["head", "*.2.*"])
    assert ledger.unused == ()
    assert {entry.name for entry in ledger.drawn} == {"head.weight", "head.bias", "body.2.weight", "body.2.bias"}
    with pytest.raises(UnknownNameError, match="unknown tensor or module 'bodi'"):
        fanin.load(Net(), path, only=["bodi"])


def test_a_part_of_a_model(path: Path) -> None:
    model = Net(7)
    before = model.head.weight.detach().clone()
    fanin.load(model.body, path)
    assert torch.equal(model.body[2].weight, fanin.open_weights(path)["body.2.weight"])
    assert torch.equal(model.head.weight, before)
    assert "head.weight" not in fanin.unkeep(model)


def test_tied_tensors(tmp_path: Path) -> None:
    values = torch.randn(5, 3)
    for stored in ({"embed.weight": values}, {"head.weight": values}, {"embed.weight": values, "head.weight": values}):
        model = Tied()
        ledger = fanin.load(model, {name: value.clone() for name, value in stored.items()})
        assert torch.equal(model.embed.weight, values)
        assert model.head.weight is model.embed.weight
        assert ledger["head.weight"].aliases == ("head.weight",)
        assert ledger.unused == ()
    text = untouched(Tied(), {"embed.weight": values, "head.weight": values + 1})
    assert text.endswith("are one tensor in the model and differ in the file: leave one of them out with ignore=")
    assert len(fanin.load(Tied(), {"embed.weight": values, "head.weight": values + 1}, ignore="head").loaded) == 1


def test_meta_captured_and_real_models_get_the_same_bits(path: Path) -> None:
    options = {"policy": {"head": "pad:drawn"}, "recipe": "he", "seed": 2}
    real, captured = Net(7), fanin.capture(lambda: Net(7))
    with torch.device("meta"):
        meta = Net(7)
    fanin.load(real, path, **options)
    fanin.load(captured, path, **options)
    meta.scratch = torch.full((2,), 7.0)
    fanin.load(meta, path, **options)
    for model in (captured.model, meta):
        assert all(torch.equal(value, real.state_dict()[name]) for name, value in model.state_dict().items())
    assert captured.model.scratch.tolist() == [7.0, 7.0]


def test_a_failed_load_leaves_a_meta_model_on_meta(path: Path) -> None:
    broken = state(Net())
    broken["head.bias"][1] = float("nan")
    save_file(broken, path)
    captured = fanin.capture(Net)
    with pytest.raises(WeightsError, match=r"'head.bias' has values that are not finite \(1 NaN of 3 values\)"):
        fanin.load(captured, path)
    assert all(tensor.is_meta for tensor in captured.model.parameters())
    with torch.device("meta"):
        meta = Net()
    for dry in (True, False):
        with pytest.raises(
            PlanError, match=r"scratch \(a buffer that no file holds; a meta tensor whose constructor is"
        ):
            fanin.load(meta, {"head.bias": torch.ones(3)}, dry_run=dry)
    meta.scratch = torch.ones(2)
    with pytest.raises(WeightsError, match=r"'head\.bias' has values that are not finite"):
        fanin.load(meta, path)
    assert all(tensor.is_meta for tensor in meta.parameters())


def test_the_plan_gives_the_same_values_again(path: Path, tmp_path: Path) -> None:
    model = Net(7)
    ledger = fanin.load(model, path, policy={"head": "pad:drawn"}, recipe="he", seed=2)
    plan = Plan.from_json(ledger.plan.to_json())
    assert plan.hash == ledger.plan.hash
    assert isinstance(plan["body.0.weight"].action, Copy)
    twin = Net(7)
    fanin.materialize(twin, plan, seed=2)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in twin.state_dict().items())
    steps = tuple(step for step in plan.steps if step.persistent)
    fanin.write(Plan(steps, plan.model), tmp_path / "out", seed=2)
    written = fanin.open_weights(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(written[name], value) for name, value in model.state_dict().items())


def test_a_dry_run_checks_all_and_writes_nothing(path: Path) -> None:
    model = Net()
    before = state(model)
    ledger = fanin.load(model, path, dry_run=True)
    assert ledger.dry_run
    assert ledger.locked == ()
    assert "dry run: nothing was written" in str(ledger)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert fanin.unkeep(model) == ()
    assert [entry.how for entry in ledger.entries] == [entry.how for entry in fanin.load(model, path).entries]
    untouched(Net(7), path, dry_run=True)


def test_an_end_in_the_middle_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(done: int, total: int) -> None:
        raise RuntimeError("enough")

    monkeypatch.setenv("FANIN_NUM_THREADS", "1")  # that reads 16 MiB between two reports
    model = nn.ModuleList(nn.Linear(1 << 12, 1 << 9, bias=False) for _ in range(3))
    save_file(model.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(fanin.HalfWrittenError, match="materialize ended early, on RuntimeError: enough") as caught:
        fanin.load(model, tmp_path / "a.safetensors", progress=stop)
    error = caught.value
    assert (error.written, error.unfinished, error.untouched) == (("0.weight",), ("1.weight",), ("2.weight",))


def test_weights_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="weights are a path or a mapping from names to tensors, not int"):
        fanin.load(Net(), 3)
    with pytest.raises(ArgumentError, match="there are no weights to load"):
        fanin.load(Net(), [])
    with pytest.raises(ArgumentError, match="'a' is str → list"):
        fanin.load(Net(), {"a": [1.0]})
    with pytest.raises(ArgumentError, match="'a' in memory is no plain tensor with values"):
        fanin.load(Net(), {"a": torch.empty(2, device="meta")})
    with pytest.raises(WeightsError, match="there is no such file"):
        fanin.load(Net(), tmp_path / "none.safetensors")
    with pytest.raises(ArgumentError, match="load writes into a module or a captured model, not into a str"):
        fanin.load("net", {})
    with pytest.raises(ArgumentError, match="nonfinite is 'error' or 'allow', not 'ignore'"):
        fanin.load(Net(), {}, nonfinite="ignore")


def test_the_users_modes_gradients_and_random_state_stay(path: Path) -> None:
    model = Net().eval()
    model.head.weight.grad = torch.ones(3, 6)
    model.head.bias.requires_grad_(False)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    ids = [id(tensor) for tensor in model.parameters()]
    with torch.inference_mode(False):
        fanin.load(model, path, recipe="he")
    assert torch.equal(torch.rand(3), expected)
    assert not model.training
    assert torch.equal(model.head.weight.grad, torch.ones(3, 6))
    assert [tensor.requires_grad for tensor in model.head.parameters()] == [True, False]
    assert ids == [id(tensor) for tensor in model.parameters()]
