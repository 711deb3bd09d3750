"""`fanin init` into a folder: what transformers loads is what materialize gives; interrupted, shared out, refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import fanin as library
from fanin.models import factory

LLAMA = (
    "hf:llama,hidden_size=32,intermediate_size=48,num_hidden_layers=2,num_attention_heads=4,num_key_value_heads=2,"
    "head_dim=8,vocab_size=64,bos_token_id=1,eos_token_id=2"
)
SMALL = ("--max-shard-size", "20kB")


def bits(state: dict[str, torch.Tensor]) -> dict[str, tuple[torch.dtype, bytes]]:
    return {
        name: (each.dtype, each.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, each in state.items()
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("preset", "dtype"), [("1b", "bf16"), ("8b", None)])  # tied and not
def test_transformers_loads_what_materialize_gives(fanin, tmp_path, preset: str, dtype: str | None) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    chosen = () if dtype is None else ("--dtype", dtype)
    done = fanin("init", LLAMA, "--preset", preset, *chosen, "--seed", 3, *SMALL, "-o", f"{tmp_path}/out/", "--json")
    captured = library.capture(factory(f"{LLAMA},preset={preset}"))
    expected = library.materialize(captured.model, captured.plan, seed=3)
    if dtype is not None:
        expected = expected.to(torch.bfloat16)
    loaded, told = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(told.values())
    assert type(loaded) is type(expected)
    assert bits(loaded.state_dict()) == bits(expected.state_dict())
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert (config.dtype, config.architectures) == (expected.dtype, ["LlamaForCausalLM"])
    assert loaded.config.num_hidden_layers == 2
    files = done.json["files"]
    assert files == {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors.index.json"} < files.keys()
    assert len(done.json["written"]) == len(files) - 3 > 1
    written = library.open_weights(tmp_path / "out" / done.json["written"][0]).metadata
    assert (written["fanin.plan_hash"], written["fanin.seed"]) == (done.json["plan_hash"], "3")


def test_the_same_command_goes_on_with_what_is_missing(fanin, tmp_path: Path) -> None:
    arguments = ("init", LLAMA, *SMALL, "-o", f"{tmp_path}/out")
    assert fanin(*arguments).code == 0
    whole = contents(tmp_path / "out")
    shards = sorted(name for name in whole if name.endswith(".safetensors"))
    for name in (shards[1], "model.safetensors.index.json", "config.json"):
        (tmp_path / "out" / name).unlink()
    again = fanin(*arguments)
    assert f"\n{len(shards) - 1} of {len(shards)} files were finished already\n" in again.out
    assert contents(tmp_path / "out") == whole
    assert "\nall files were finished already\n" in fanin(*arguments).out


def test_another_checkpoint_is_replaced_only_if_asked(fanin, tmp_path: Path) -> None:
    assert fanin("init", "mnist-fc", "-o", f"{tmp_path}/out/").code == 0
    refused = fanin("init", "mnist-fc", "--seed", 1, "-o", f"{tmp_path}/out/")
    assert (refused.code, "give --force" in refused.error) == (2, True)
    assert "the seed is '0' there and '1' here" in refused.error
    assert fanin("init", "mnist-fc", "--seed", 1, "-o", f"{tmp_path}/out/", "--force").code == 0
    assert library.open_weights(tmp_path / "out/model.safetensors").metadata["fanin.seed"] == "1"


def test_a_config_of_another_model_is_not_overwritten(fanin, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    refused = fanin("init", LLAMA, "-o", f"{tmp_path}/")
    assert refused.error == (
        f"{tmp_path}: there is another config.json: choose another folder, or replace the checkpoint with --force "
        "(overwrite=True)"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_the_report(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = fanin("init", "mnist-fc", "--recipe", "he", "--seed", 5, "-o", "out/")
    assert done.out.startswith("out/\n")
    assert "4 tensors, 397,510 parameters, 1.516 MiB in all" in done.out
    for line in ("recipe: he", "seed: 5", "stream_version: 2", "load: fanin.open_weights('out/model.safetensors')"):
        assert f"\n{line}\n" in done.out
    assert done.err == ""


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # by torch's own load
def test_dcp(fanin, tmp_path: Path) -> None:
    from torch.distributed import checkpoint

    done = fanin("init", "mnist-cnn", "--recipe", "orthogonal", "--format", "dcp", "-o", tmp_path / "out", "--json")
    expected = library.initialize(model := factory("mnist-cnn")(), "orthogonal") and model.state_dict()
    state = {name: torch.zeros_like(each) for name, each in expected.items()}
    checkpoint.load(state, checkpoint_id=tmp_path / "out", no_dist=True)
    assert bits(state) == bits(expected)
    assert done.json["load"] == (
        f"torch.distributed.checkpoint.load(model.state_dict(), checkpoint_id={str(tmp_path / 'out')!r})"
    )
    assert fanin("init", "mnist-cnn", "--format", "dcp", "-o", tmp_path / "out").error.startswith(
        f"{tmp_path / 'out'}: there is a checkpoint already"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("-o", "a.bin"),
            "a.bin: weights are written as .safetensors or .gguf, and the suffix '.bin' is neither; for a folder of "
            "files write a.bin/",
        ),
        (
            ("-o", "a.gguf", "--format", "dcp"),
            "a.gguf: a .gguf file is not written as dcp: leave --format out, or name a folder",
        ),
        (("-o", "a/", "--format", "gguf"), "a/: GGUF weights are one file: give it a name ending in .gguf"),
        (("-o", "there"), "there is a file: choose another name for the folder"),
    ],
)
def test_places_that_cannot_be(fanin, tmp_path, monkeypatch, arguments: tuple[str, ...], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").write_text("")
    refused = fanin("init", "mnist-fc", *arguments)
    assert (refused.code, refused.error) == (2, message)


def test_a_missing_folder_is_named(fanin, tmp_path: Path) -> None:
    refused = fanin("init", "mnist-fc", "-o", f"{tmp_path}/nowhere/out/")
    assert refused.error == f"{tmp_path}/nowhere/out: cannot be written: there is no folder '{tmp_path}/nowhere'"


def test_a_version_is_no_suffix(fanin, tmp_path: Path) -> None:
    assert fanin("init", "mnist-fc", "-o", tmp_path / "net-3.1-8b").code == 0
    assert [path.name for path in (tmp_path / "net-3.1-8b").iterdir()] == ["model.safetensors"]


def test_a_size_that_is_none(fanin, tmp_path: Path) -> None:
    refused = fanin("init", "mnist-fc", "-o", f"{tmp_path}/out/", "--max-shard-size", "5 gigs")
    assert refused.code == 2
    assert "a size is a number of bytes or text such as '5GB', '5GiB' or '500MB', got '5 gigs'" in refused.err


def test_a_disk_that_is_too_small_is_told_before_drawing(fanin, tmp_path: Path, monkeypatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    refused = fanin("init", "mnist-fc", "--dtype", "bf16", "-o", f"{tmp_path}/out/")
    assert (refused.code, refused.error) == (
        2,
        f"{tmp_path}/out: the disk has 1,000 B free, and the weights need 776.9 KiB: make room, choose another disk, "
        "or a smaller --dtype",
    )
    assert not (tmp_path / "out").exists()


def test_an_interrupt_says_how_to_go_on(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fanin.initializers import Normal

    assert fanin("init", LLAMA, *SMALL, "-o", f"{tmp_path}/out/").code == 0
    whole = contents(tmp_path / "out")
    shards = sorted(name for name in whole if name.endswith(".safetensors"))
    for name in (*shards[1:], "model.safetensors.index.json"):
        (tmp_path / "out" / name).unlink()

    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Normal, "fill", pressed)
        stopped = fanin("init", LLAMA, *SMALL, "-o", f"{tmp_path}/out/")
    assert stopped.code == 130
    assert stopped.err.splitlines()[0] == (
        f"1 of {len(shards)} files are finished; the same command goes on with the others."
    )
    assert not (tmp_path / "out/model.safetensors.index.json").exists()
    assert fanin("init", LLAMA, *SMALL, "-o", f"{tmp_path}/out/").code == 0
    assert contents(tmp_path / "out") == whole


def test_two_processes_write_the_bytes_of_one_and_one_of_them_speaks(fanin, tmp_path: Path) -> None:
    arguments = ["init", "mnist-fc", "--max-shard-size", "30kB", "--dtype", "bf16", "--json", "-o"]
    assert fanin(*arguments, f"{tmp_path}/one/").code == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "fanin"]
    done = subprocess.run(
        [*torchrun, *arguments, f"{tmp_path}/two/"],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "two") == contents(tmp_path / "one")
    told = json.loads(done.stdout)
    assert len(told["written"]) == len(list((tmp_path / "two").glob("*.safetensors"))) > 1
    assert told["kept"] == []


def test_presets_complete() -> None:
    from click.shell_completion import BashComplete

    from fanin.cli.app import verbs

    shell = BashComplete(verbs, {}, "fanin", "_FANIN_COMPLETE")
    for words, incomplete, found in (
        (["init", "hf:llama", "--preset"], "", ["1b", "3b", "8b", "70b", "405b"]),
        (["plan", "hf:gpt2,n_layer=2", "--preset"], "m", ["medium"]),
        (["count", "mnist-fc", "--preset"], "", []),
    ):
        assert [item.value for item in shell.get_completions(words, incomplete)] == found
