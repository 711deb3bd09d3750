"""Safetensors: round trips, and agreement with the package safetensors both ways."""

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from fanin import UnknownNameError, WeightsError
from fanin.weights import DTYPES, Tensor, read_safetensors, read_weights, write_safetensors


def every_dtype():
    bits = np.random.default_rng(0).integers(0, 256, 4 * 48, dtype=np.uint8)
    tensors = {}
    for name, holder in DTYPES.items():
        values = bits[: 6 * holder.itemsize].view(holder)
        tensors[f"a.{name}"] = Tensor((values > 127 if name == "bool" else values).reshape(2, 3), name)
    tensors["scalar"] = Tensor.of(np.array(2.5, np.float32))
    tensors["nothing"] = Tensor.of(np.zeros((3, 0, 2), np.float16))
    tensors["ünï/码"] = Tensor.of(np.arange(5, dtype=np.int8))
    return tensors


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bytes(a.to_bytes()) == bytes(b.to_bytes())


def test_round_trip(tmp_path):
    path, tensors = tmp_path / "a.safetensors", every_dtype()
    write_safetensors(path, tensors, {"b": "2", "a": "ä"})
    file = read_safetensors(path)
    assert file.metadata == {"a": "ä", "b": "2"}
    assert file.format == "safetensors"
    assert set(file) == set(tensors)
    assert all(same(file[name], tensors[name]) for name in tensors)


def test_the_package_reads_what_fanin_writes(tmp_path):
    path, tensors = tmp_path / "a.safetensors", every_dtype()
    tensors = {name: t for name, t in tensors.items() if t.dtype not in ("uint16", "uint32", "uint64")}
    tensors = {name: t for name, t in tensors.items() if t.dtype != "float8_e8m0fnu"}
    write_safetensors(path, tensors, {"seed": "3"})
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata() == {"seed": "3"}
    found = safetensors.torch.load_file(path)
    assert found.keys() == tensors.keys()
    for name, tensor in found.items():
        assert str(tensor.dtype) == f"torch.{tensors[name].dtype}"
        assert tuple(tensor.shape) == tensors[name].shape
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
        assert raw == bytes(tensors[name].to_bytes())


def test_fanin_reads_what_the_package_writes(tmp_path):
    path = tmp_path / "a.safetensors"
    values = {"w": torch.randn(3, 4).bfloat16(), "n": torch.arange(5), "e": torch.zeros(0, 2), "s": torch.tensor(True)}
    safetensors.torch.save_file(values, path, {"format": "pt"})
    file = read_weights(path)
    assert file.metadata == {"format": "pt"}
    assert {name: (file[name].dtype, file[name].shape) for name in file} == {
        "w": ("bfloat16", (3, 4)),
        "n": ("int64", (5,)),
        "e": ("float32", (0, 2)),
        "s": ("bool", ()),
    }
    assert np.array_equal(file["w"].data, values["w"].view(torch.uint16).numpy())


def test_equal_tensors_give_equal_bytes(tmp_path):
    tensors = every_dtype()
    write_safetensors(tmp_path / "a", tensors, {"x": "1", "y": "2"})
    write_safetensors(tmp_path / "b", dict(reversed(tensors.items())), {"y": "2", "x": "1"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_tensor_is_aligned(tmp_path):
    write_safetensors(tmp_path / "a", every_dtype())
    file = read_safetensors(tmp_path / "a")
    assert all(place.begin % DTYPES[place.dtype].itemsize == 0 for place in file.places.values())


def test_views_never_reach_the_file(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"w": np.zeros(4, np.float32)})
    before, file = path.read_bytes(), read_safetensors(path)
    file["w"].data[:] = 7
    assert file["w"].data.sum() == 28
    assert path.read_bytes() == before


def test_empty(tmp_path):
    write_safetensors(tmp_path / "a", {})
    assert len(read_safetensors(tmp_path / "a")) == 0


def test_unknown_tensor(tmp_path):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"weight": np.zeros(4, np.float32)})
    with pytest.raises(UnknownNameError) as caught:
        read_safetensors(path)["wieght"]
    assert str(caught.value) == f"unknown tensor of {path} 'wieght'; did you mean 'weight'? Known: weight."


def test_reserved_name(tmp_path):
    with pytest.raises(WeightsError, match="safetensors reserves the name '__metadata__': rename that tensor"):
        write_safetensors(tmp_path / "a", {"__metadata__": np.zeros(1, np.float32)})
    assert not list(tmp_path.iterdir())
