"""Damaged and hostile safetensors files: one sentence with file and byte, never a wrong tensor, never a crash."""

import contextlib
import json

import numpy as np
import pytest

from fanin import FaninError, WeightsError
from fanin.weights import read_safetensors, read_weights, write_safetensors


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.safetensors"


def write(path, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return len(text)


def message(path):
    with pytest.raises(WeightsError) as caught:
        read_safetensors(path)
    assert caught.value.path == path
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_missing_empty_folder(path, tmp_path):
    assert message(path) == "there is no such file"
    path.touch()
    assert message(path) == "the file is empty (at byte 0)"
    path.unlink()
    path.mkdir()
    assert message(path) == "is a folder; name a weights file in it"


def test_too_short_for_its_length(path):
    path.write_bytes(b"1234")
    assert (
        message(path) == "truncated: 4 bytes, and a safetensors file starts with 8 for its header's length (at byte 0)"
    )


@pytest.mark.parametrize("length", [2**64 - 1, 10**12, 100_000_001])
def test_absurd_header_length(path, length):
    write(path, b"{}", length=length)
    assert message(path) == (
        f"not a safetensors file: its first 8 bytes claim a header of {length:,} bytes (at byte 0)"
    )


def test_header_longer_than_the_file(path):
    write(path, b"{}", length=3)
    assert message(path) == "truncated: the header has 3 bytes, the file only 2 after its length (at byte 0)"


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b'{"a": 1, "a": 2}', "the name 'a' stands in it twice"),
        (b'{"\\ud800": 1}', "'\\ud800' is no Unicode text"),
        (b'{"__metadata__": {"a": "\\udfff"}}', "'\\udfff' is no Unicode text"),
        (b'{"a": {"dtype": 1, "dtype": 2}}', "the name 'dtype' stands in it twice"),
        (b'{"a": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
        (b'{"\xff": 1}', "'utf-8' codec can't decode"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
    ],
)
def test_header_is_not_json(path, header, why):
    write(path, header)
    found = message(path)
    assert found.startswith(f"the header is not JSON: {why}")
    assert found.endswith("(at byte 8)")


def test_header_is_not_an_object(path):
    write(path, [1])
    assert message(path) == "the header is not a JSON object (at byte 8)"


@pytest.mark.parametrize("metadata", [[], {"a": 1}, "x", None])
def test_metadata(path, metadata):
    write(path, {"__metadata__": metadata})
    assert message(path) == "the header's __metadata__ is not a map from text to text (at byte 8)"


@pytest.mark.parametrize(
    "bad",
    [
        3,
        {},
        {"dtype": "F32", "shape": [1]},
        {"dtype": 1, "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, "4"]},
    ],
)
def test_entry_of_another_form(path, bad):
    write(path, {"w": bad}, bytes(4))
    assert message(path) == "tensor 'w': its entry is not {dtype, shape, data_offsets: [begin, end]} (at byte 8)"


def test_unknown_dtype(path):
    write(path, {"w": entry("F31")}, bytes(4))
    assert message(path).startswith("tensor 'w' has dtype 'F31'; known: F64, F32, F16, BF16, ")


@pytest.mark.parametrize("offsets", [(0, 5), (-4, 0), (4, 0), (2**63, 2**63 + 4), (0, 10**30)])
def test_bytes_out_of_range(path, offsets):
    start = 8 + write(path, {"w": entry(offsets=offsets)}, bytes(4))
    begin, end = offsets
    where = f"tensor 'w' lies at bytes {begin:,} to {end:,} of the data, which has 4"
    assert message(path) == f"{where}: truncated or damaged (at byte {start})"


@pytest.mark.parametrize("shape", [(2,), (0,), (-1,), (1, 2), (2**62, 4), (2**64,), (2**63, 0), (10**300, 0)])
def test_shape_that_does_not_fill_its_bytes(path, shape):
    start = 8 + write(path, {"w": entry(shape=shape)}, bytes(4))
    assert message(path) == (f"tensor 'w': F32 with shape {list(shape)} does not fill its 4 bytes (at byte {start})")


def test_more_dimensions_than_an_array_can_have(path):
    start = 8 + write(path, {"w": entry(shape=[1] * 100_000)}, bytes(4))
    assert message(path) == f"tensor 'w': F32 with 100000 dimensions does not fill its 4 bytes (at byte {start})"


def test_overlap_gap_rest(path):
    two = {"a": entry(offsets=(0, 4)), "b": entry(offsets=(2, 6))}
    start = 8 + write(path, two, bytes(6))
    assert message(path) == f"tensors 'a' and 'b' overlap (at byte {start + 2})"
    start = 8 + write(path, {"a": entry(offsets=(0, 4)), "b": entry(offsets=(6, 10))}, bytes(10))
    assert message(path) == f"2 bytes before tensor 'b' belong to no tensor (at byte {start + 4})"
    start = 8 + write(path, {"a": entry()}, bytes(7))
    assert message(path) == f"3 bytes at the end belong to no tensor (at byte {start + 4})"


def test_same_bytes_twice(path):
    start = 8 + write(path, {"a": entry(), "b": entry()}, bytes(4))
    assert message(path) == f"tensors 'a' and 'b' overlap (at byte {start})"


def small(path):
    write_safetensors(path, {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.int8)}, {"k": "v"})
    return path.read_bytes()


def test_truncated_anywhere(path):
    whole = small(path)
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError) as caught:
            read_safetensors(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_any_byte_changed(path, mutants):
    for _ in mutants(path, small(path)):
        with contextlib.suppress(FaninError):
            for tensor in read_safetensors(path).values():
                tensor.data.sum()


def test_unaligned_tensor_of_another_writer(path):
    write(path, {"a": entry("I8", (1,), (0, 1)), "w": entry("F32", (1,), (1, 5))}, b"\0" + np.float32(7).tobytes())
    values = read_weights(path)["w"].data
    assert values.flags.aligned
    assert values[0] == 7
