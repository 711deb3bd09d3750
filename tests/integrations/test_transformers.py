"""The callback of the transformers Trainer: bit-identical training, warnings, a stop before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import fanin
from fanin.integrations.starting import HealthWarning
from fanin.integrations.transformers import StartCheck

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class Tokens(Dataset[dict[str, Tensor]]):
    def __init__(self) -> None:
        self.rows = torch.randint(64, (24, 12), generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self.rows[index], "labels": self.rows[index]}


def trained(folder: Path, *callbacks: Any, broken: bool = False, steps: int = 4) -> Any:
    transformers.set_seed(0)
    config = transformers.GPT2Config(
        n_embd=32, n_layer=2, n_head=2, vocab_size=64, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config)
    if broken:
        nn.init.zeros_(model.transformer.h[0].ln_1.weight)
        nn.init.constant_(model.transformer.h[1].mlp.c_fc.weight, float("nan"))
    arguments = transformers.TrainingArguments(
        str(folder),
        max_steps=steps,
        per_device_train_batch_size=4,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        learning_rate=1e-2,
    )
    trainer = transformers.Trainer(model, arguments, train_dataset=Tokens(), callbacks=list(callbacks))
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return trainer


def test_training_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    plain = trained(tmp_path)
    state = torch.get_rng_state()
    look = StartCheck(on="stop")
    looked = trained(tmp_path, look)
    assert torch.equal(state, torch.get_rng_state())
    for (name, one), two in zip(plain.model.state_dict().items(), looked.model.state_dict().values(), strict=True):
        assert torch.equal(one, two), name
    losses = [[row["loss"] for row in each.state.log_history if "loss" in row] for each in (plain, looked)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4
    report = look.result
    assert report is not None
    assert report.verdict == "healthy"
    assert report.loss is not None
    assert report.loss == pytest.approx(4.159, abs=0.2)  # ln 64
    assert any(layer.name == "transformer.h.1.mlp.c_fc" for layer in report.layers)


def test_a_sick_model_is_stopped_before_its_first_step(tmp_path: Path) -> None:
    look = StartCheck(on="stop", report=tmp_path / "start.html")
    with pytest.raises(fanin.UnhealthyError, match=r"transformer\.h\.1\.mlp\.c_fc\.weight"):
        trained(tmp_path, look, broken=True)
    assert (tmp_path / "start.html").stat().st_size > 1000


def test_a_sick_model_is_warned_of_and_trained(tmp_path: Path) -> None:
    with pytest.warns(HealthWarning, match=r"transformer\.h\.1\.mlp\.c_fc\.weight"):
        trainer = trained(tmp_path, StartCheck(), broken=True, steps=1)
    assert trainer.state.global_step == 1


def test_it_is_a_callback_of_the_trainer() -> None:
    look = StartCheck(thorough=True)
    assert isinstance(look, transformers.TrainerCallback)
    assert isinstance(look, StartCheck)
    assert look.settings.thorough
