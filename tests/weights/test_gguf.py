"""GGUF: round trips, and agreement with llama.cpp's own package gguf both ways."""

import gguf
import numpy as np
import pytest

from fanin import ArgumentError, WeightsError
from fanin.weights import Tensor, read_gguf, read_weights, write_gguf
from fanin.weights.gguf_codes import ALIGNMENT, TENSOR_TYPES
from fanin.weights.tensors import DTYPES

METADATA = {
    "fanin.seed": 2**64 - 1,
    "x.neg": -(2**63),
    "x.on": True,
    "x.off": False,
    "x.f": 0.1,
    "x.text": "ä",
    "x.none": "",
}


def every_dtype():
    bits = np.random.default_rng(0).integers(0, 256, 8 * 30, dtype=np.uint8)
    tensors = {
        f"a.{name}": Tensor(bits[: 30 * DTYPES[name].itemsize].view(DTYPES[name]).reshape(2, 5, 3), name)
        for name in TENSOR_TYPES
    }
    tensors["scalar"] = Tensor.of(np.array(2.5, np.float32))
    tensors["four"] = Tensor.of(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    tensors["nothing"] = Tensor.of(np.zeros((3, 0), np.float32))
    return tensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.gguf"


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and bytes(a.to_bytes()) == bytes(b.to_bytes())


def test_round_trip(path):
    tensors = every_dtype()
    write_gguf(path, tensors, "arch", METADATA)
    file = read_weights(path)
    assert file.format == "gguf"
    assert file.metadata == {"general.architecture": "arch", **METADATA}
    assert list(file) == list(tensors)
    assert all(same(file[name], tensors[name]) for name in tensors)


def test_the_package_reads_what_fanin_writes(path):
    tensors = {name: tensor for name, tensor in every_dtype().items() if tensor.nbytes and tensor.shape}
    write_gguf(path, tensors, "arch", METADATA)
    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert fields == {"general.architecture": "arch", **METADATA}
    assert [tensor.name for tensor in reader.tensors] == list(tensors)
    for tensor in reader.tensors:
        expected = tensors[tensor.name]
        assert tuple(reversed(tensor.shape.tolist())) == expected.shape
        assert tensor.tensor_type == TENSOR_TYPES[expected.dtype]
        assert tensor.data.tobytes() == bytes(expected.to_bytes())


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [32, 64, 8])
def test_fanin_reads_what_the_package_writes(path, version, alignment):
    values = {"w": np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32), "h": np.ones(7, np.float16)}
    writer = gguf.GGUFWriter(path, "arch")
    writer.add_custom_alignment(alignment)
    writer.add_array("x.words", ["a", "bc", ""])
    writer.add_array("x.numbers", [1, -2, 3])
    writer.add_array("x.flags", [True, False])
    writer.add_uint8("x.u8", 7)
    writer.add_float32("x.f32", 0.5)
    for name, value in values.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    content = bytearray(path.read_bytes())
    content[4] = version  # 2 and 3 differ in byte order only
    path.write_bytes(content)
    file = read_gguf(path)
    assert file.metadata["x.words"] == ["a", "bc", ""]
    assert file.metadata["x.numbers"] == [1, -2, 3]
    assert file.metadata["x.flags"] == [True, False]
    assert (file.metadata["x.u8"], file.metadata["x.f32"]) == (7, 0.5)
    assert all(np.array_equal(file[name].data, value) for name, value in values.items())


def test_places_are_as_ggml_demands(path):
    write_gguf(path, every_dtype(), "arch")
    file, at = read_gguf(path), None
    for place in file.places.values():
        assert place.begin % ALIGNMENT == 0
        assert at is None or place.begin == at
        at = place.begin + -(-place.nbytes // ALIGNMENT) * ALIGNMENT
    assert at == path.stat().st_size


def test_no_tensors(path):
    write_gguf(path, {}, "arch")
    assert dict(read_gguf(path)) == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("w", np.zeros(2, bool), "tensor 'w' has dtype bool, and GGUF holds only float32, float16, int8, int16, int32, "
         "int64, float64, bfloat16: convert it or write safetensors"),
        ("w", np.zeros((1,) * 5, np.float32), "tensor 'w' has 5 dimensions, and GGUF holds at most 4"),
        ("é" * 32, np.zeros(2, np.float32), f"the tensor name {'é' * 32!r} has 64 bytes, and ggml reads at most 63"),
    ],
)  # fmt: skip
def test_what_gguf_cannot_hold(path, name, value, message):
    with pytest.raises(WeightsError) as caught:
        write_gguf(path, {name: value}, "arch")
    assert str(caught.value) == f"{path}: {message}"
    assert not path.exists()


def test_bad_metadata(path):
    with pytest.raises(
        ArgumentError, match="metadata 'k' must be text, bool, a 64-bit int or float, got 18446744073709551616"
    ):
        write_gguf(path, {}, "arch", {"k": 2**64})
    with pytest.raises(ArgumentError, match=r"the metadata key 'general.architecture' is set by write_gguf itself"):
        write_gguf(path, {}, "arch", {"general.architecture": "x"})
