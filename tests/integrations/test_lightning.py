"""The Lightning callback in a real Trainer: bit-identical training, warnings, a stop before the first step."""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import fanin
from fanin.integrations.lightning import StartCheck, _silenced
from fanin.integrations.starting import HealthWarning

PACKAGES = ["lightning.pytorch", "pytorch_lightning"]
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*num_workers.*", "ignore:.*log_every_n_steps.*", "ignore:.*LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*"),
]


def package(name: str = "lightning.pytorch") -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name.split(".")[0])
        return importlib.import_module(name)


def module_of(pl: Any, *, broken: bool = False, manual: bool = False, short: bool = False) -> Any:
    """A LightningModule with everything that a careless look would disturb."""

    class Digits(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 4)
            )
            if broken:
                nn.init.normal_(self.net[0].weight, 0, 1e30)
            self.seen: list[float] = []
            self.automatic_optimization = not manual

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def _loss(self, batch: Any) -> Tensor:
            x, y = batch
            loss = nn.functional.cross_entropy(self(x + 0.01 * torch.randn_like(x)), y)
            self.log("loss", loss)
            self.seen.append(loss.item())
            return loss

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self._loss(batch)
            if manual:
                optimizer = self.optimizers()
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
                return None
            return {"loss": loss, "more": 1}

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), 1e-2)

    if short:

        def training_step(self: Any, batch: Any) -> Any:
            return self._loss(batch)

        Digits.training_step = training_step
    return Digits()


def test_attributes_in_the_way_of_logging_come_back() -> None:
    module = nn.Linear(2, 2)
    own = module.log = lambda *_: None
    with suppress(KeyError), _silenced(module):
        assert module.log is not own
        assert module.log("loss", 1.0) is module.log_dict({}) is None
        raise KeyError
    assert vars(module)["log"] is own
    assert "log_dict" not in vars(module)


def fitted(pl: Any, *callbacks: Any, **choices: Any) -> Any:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(32, 16), torch.randint(4, (32,)))
    loader = DataLoader(data, 8, shuffle=True, generator=torch.Generator().manual_seed(1))
    module = module_of(pl, **choices)
    trainer = pl.Trainer(
        max_epochs=2,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    module.trainer_used = None
    try:
        trainer.fit(module, loader)
    except Exception as error:
        module.failed = error
    return module, trainer, torch.get_rng_state()


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("choices", [{}, {"short": True}, {"manual": True}])
def test_training_is_the_same_bit_for_bit(name: str, choices: dict[str, bool]) -> None:
    pl = package(name)
    plain, first, state = fitted(pl, **choices)
    look = StartCheck(on="stop")
    looked, second, other = fitted(pl, look, **choices)
    assert not hasattr(looked, "failed"), looked.failed
    assert plain.seen == looked.seen
    assert len(plain.seen) == 8
    for (key, one), two in zip(plain.state_dict().items(), looked.state_dict().values(), strict=True):
        assert torch.equal(one, two), key
    optimizers = [trainer.optimizers[0].state_dict()["state"] for trainer in (first, second)]
    assert all(torch.equal(optimizers[0][k]["exp_avg"], optimizers[1][k]["exp_avg"]) for k in optimizers[0])
    assert first.callback_metrics == second.callback_metrics
    assert torch.equal(state, other)
    assert "log" not in vars(looked)
    assert not looked._forward_hooks
    assert look.result is not None
    assert [layer.name for layer in look.result.layers] == (
        [] if choices.get("manual") else ["net.0", "net.1", "net.2", "net.4"]
    )
    assert bool(choices.get("manual")) == any("manual optimization" in note for note in look.result.notes)


def test_a_sick_model_is_stopped_before_its_first_step(tmp_path: Path) -> None:
    pl = package()
    look = StartCheck(on="stop", report=tmp_path / "start.html")
    module, trainer, _ = fitted(pl, look, broken=True)
    assert isinstance(module.failed, fanin.UnhealthyError)
    assert "net.0.weight" in str(module.failed)
    assert (trainer.global_step, module.seen) == (0, [])
    assert any(finding.severity == "error" for finding in module.failed.findings)
    assert b"net.0.weight" in (tmp_path / "start.html").read_bytes()


def test_a_sick_model_is_warned_of_and_trained() -> None:
    pl = package()
    with pytest.warns(HealthWarning, match=r"net\.0\.weight"):
        module, trainer, _ = fitted(pl, StartCheck(), broken=True)
    assert trainer.global_step == 8
    assert not hasattr(module, "failed")


def test_allowed_findings_do_not_count() -> None:
    pl = package()
    look = StartCheck(on="stop", allow=("*",))
    with warnings.catch_warnings():
        warnings.simplefilter("error", HealthWarning)
        module, _, _ = fitted(pl, look, broken=True)
    assert not hasattr(module, "failed")
    assert look.result is not None
    assert look.result.findings


def test_a_step_that_fails_is_told_or_stops() -> None:
    pl = package()
    unfit = (torch.zeros(8, 3), torch.zeros(8, dtype=torch.long))
    with pytest.warns(HealthWarning, match="Digits could not be looked at before training: the model's forward"):
        module, trainer, _ = fitted(pl, StartCheck(batch=unfit))
    assert trainer.global_step == 8
    module, trainer, _ = fitted(pl, StartCheck(on="stop", batch=unfit))
    assert isinstance(module.failed, fanin.DataError)
    assert trainer.global_step == 0


def test_the_callback_can_be_pickled() -> None:
    pl = package()
    look = StartCheck(on="stop", allow=("twins",))
    again = pickle.loads(pickle.dumps(look))
    for each in (look, again):
        assert isinstance(each, pl.Callback)
        assert isinstance(each, StartCheck)
        assert (each.settings, each.state_key) == (look.settings, "StartCheck")


def test_the_callback_belongs_to_the_package_that_is_loaded() -> None:
    package("pytorch_lightning")
    script = """
import pytorch_lightning
from fanin.integrations.lightning import StartCheck
assert isinstance(StartCheck(), pytorch_lightning.Callback)
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on": "raise"}, "on must be 'warn' or 'stop', got 'raise'"),
        ({"allow": "twins"}, "allow takes a tuple of rules"),
        ({"plan": "gpt2"}, "plan must be a fanin.Plan, got str"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    package()
    with pytest.raises(fanin.ArgumentError, match=message):
        StartCheck(**arguments)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(fanin.MissingExtraError, match=r"not installed: pip install 'fanin\[lightning\]'"):
        StartCheck()


def test_the_report_is_json_and_pickles() -> None:
    pl = package()
    look = StartCheck()
    fitted(pl, look)
    assert look.result is not None
    assert json.loads(look.result.to_json())["model"] == "Digits"
    assert pickle.dumps(look.settings)
