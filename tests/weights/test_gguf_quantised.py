"""Quantised tensors of GGUF files, as the package `gguf` writes them and damaged."""

import contextlib
import struct

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize

from fanin import FaninError, WeightsError, open_weights
from fanin.weights import read_gguf, write_gguf
from fanin.weights.quantised import BLOCK_TYPES
from fanin.weights.stored_bytes import part_of, stored_bytes

KINDS = ("Q8_0", "Q4_0", "TQ2_0", "MXFP4", "Q6_K", "IQ1_S")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.gguf"


def raw_of(kind, rows, values, seed=0):
    block = BLOCK_TYPES[kind]
    size = values // block.values * block.nbytes
    return np.random.default_rng(seed).integers(0, 256, (rows, size), dtype=np.uint8)


def theirs(raw, kind):
    with np.errstate(all="ignore"):
        return dequantize(raw, GGMLQuantizationType[kind])


def written(path, kinds=KINDS):
    writer = gguf.GGUFWriter(path, "arch")
    raws = {f"w.{kind}": raw_of(kind, 3, 512) for kind in kinds}
    for name, raw in raws.items():
        writer.add_tensor(name, raw, raw_dtype=GGMLQuantizationType[name.removeprefix("w.")])
    writer.add_tensor("plain", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return raws


def test_what_the_package_writes_is_decoded_when_asked_for(path):
    raws = written(path)
    file = read_gguf(path)
    assert list(file) == [*raws, "plain"]
    for name, raw in raws.items():
        kind, place = name.removeprefix("w."), file.places[name]
        assert (place.dtype, place.value_dtype, place.shape, place.plain) == (kind, "float32", (3, 512), False)
        assert place.nbytes == raw.nbytes
        found = file[name]
        assert found.dtype == "float32"
        assert np.array_equal(found.data.view(np.uint32), theirs(raw, kind).view(np.uint32))
        assert np.array_equal(stored_bytes(file, name), raw.reshape(-1))
        part = part_of(file, name, 500, 1030).data
        assert np.array_equal(part.view(np.uint32), theirs(raw, kind).reshape(-1)[500:1030].view(np.uint32))
    assert file["plain"].data.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert part_of(file, "plain", 2, 5).data.tolist() == [2, 3, 4]


def test_torch_sees_float32(path):
    raws = written(path, ("Q8_0",))
    found = open_weights(path)["w.Q8_0"]
    assert found.shape == (3, 512)
    assert np.array_equal(found.numpy().view(np.uint32), theirs(raws["w.Q8_0"], "Q8_0").view(np.uint32))


def test_the_file_stays_as_it_is(path):
    raws = written(path, ("Q4_0",))
    before = path.read_bytes()
    file = read_gguf(path)
    file["w.Q4_0"].data[:] = 7
    assert np.array_equal(file["w.Q4_0"].data.view(np.uint32), theirs(raws["w.Q4_0"], "Q4_0").view(np.uint32))
    assert path.read_bytes() == before


def header(entry, data, path):
    start = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)
    text = start + struct.pack("<Q", 1) + b"w" + entry
    path.write_bytes(text + bytes(-len(text) % 32) + data)
    return len(start)


def described(shape, kind, offset=0):
    return struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def message(path):
    with pytest.raises(WeightsError) as caught:
        read_gguf(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(("kind", "shape"), [("Q4_0", (16, 2)), ("Q6_K", (128, 2)), ("Q8_0", (33,)), ("Q5_K", ())])
def test_rows_that_are_not_whole_blocks(path, kind, shape):
    block = BLOCK_TYPES[kind]
    start = header(described(shape, block.number), bytes(1 << 12), path)
    at = start + 9 + 4 + 8 * len(shape)
    assert message(path) == (
        f"tensor 'w' has the shape {list(reversed(shape))} and is stored as {kind}, in blocks of {block.values} values "
        f"of one row: its rows are not whole blocks (at byte {at})"
    )


def test_sizes_are_those_of_blocks(path):
    header(described((64, 3), 8), bytes(34 * 6), path)
    assert read_gguf(path)["w"].shape == (3, 64)
    start = header(described((64, 3), 8), bytes(34 * 6 - 1), path)
    begin = path.stat().st_size - (34 * 6 - 1)
    assert message(path) == (
        f"truncated or damaged: tensor 'w' lies at bytes {begin:,} to {begin + 34 * 6:,}, the file has "
        f"{path.stat().st_size:,} (at byte {start})"
    )


@pytest.mark.parametrize("shape", [(32, 2**59), (2**63, 2**63), (2**62, 4), (32, 2**40, 2**40)])
def test_sizes_that_overflow(path, shape):
    header(described(shape, 2), bytes(64), path)
    assert message(path).startswith(f"tensor 'w' has the impossible shape {list(reversed(shape))} (at byte ")


def test_huge_sizes_that_do_not(path):
    header(described((32, 2**50), 2), bytes(64), path)
    assert message(path).startswith("truncated or damaged: tensor 'w' lies at bytes 96 to ")


def test_nothing_in_blocks(path):
    header(described((0, 3), 12), b"", path)
    assert read_gguf(path)["w"].shape == (3, 0)
    header(described((256, 0), 12), b"", path)
    assert read_gguf(path)["w"].shape == (0, 256)


def test_overlap_counts_stored_bytes(path):
    entries = struct.pack("<Q", 1) + b"a" + described((32,), 8) + struct.pack("<Q", 1) + b"b" + described((32,), 8, 32)
    start = b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + entries
    path.write_bytes(start + bytes(-len(start) % 32) + bytes(128))
    assert message(path).startswith("tensors 'a' and 'b' overlap")  # 34 bytes reach over 32


def test_any_byte_changed(path, mutants):
    written(path)
    outcomes = set()
    for _ in mutants(path, path.read_bytes(), end=600):
        outcomes.add("read")
        with contextlib.suppress(FaninError):
            for name, tensor in (file := read_gguf(path)).items():
                assert tensor.shape == file.places[name].shape
            continue
        outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_metadata_keep_their_types(path):
    from fanin.weights.gguf_metadata import Typed, typed_metadata

    told = {
        "a.u32": np.uint32(7), "a.i8": np.int8(-3), "a.f32": np.float32(0.1), "a.on": np.bool_(True), "a.text": "ü",
        "a.words": Typed("string", ["x", ""], True), "a.numbers": Typed("int16", [-1, 2], True),
        "a.none": Typed("float64", [], True), "a.int": -5, "a.float": 0.25,
    }  # fmt: skip
    write_gguf(path, {"w": np.zeros(3, np.float32)}, "arch", told)
    fields = gguf.GGUFReader(path).fields
    assert [kind.name for kind in fields["a.u32"].types] == ["UINT32"]
    assert [kind.name for kind in fields["a.words"].types] == ["ARRAY", "STRING"]
    assert fields["a.numbers"].contents() == [-1, 2]
    found = typed_metadata(read_gguf(path).files[0])
    assert found.pop("general.architecture") == Typed("string", "arch")
    assert {key: value.kind for key, value in found.items()} == {
        "a.u32": "uint32", "a.i8": "int8", "a.f32": "float32", "a.on": "bool", "a.text": "string", "a.words": "string",
        "a.numbers": "int16", "a.none": "float64", "a.int": "int64", "a.float": "float64",
    }  # fmt: skip
    again = path.with_name("b.gguf")
    write_gguf(again, {"w": np.zeros(3, np.float32)}, "arch", found)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (("uint8", 256, False), "metadata 'k' does not fit GGUF's type uint8: "),
        (("float32", 1e300, False), "metadata 'k' does not fit GGUF's type float32: "),
        (("string", 5, False), "metadata 'k' does not fit GGUF's type string: "),
        (("int32", ["a"], True), "metadata 'k' does not fit GGUF's type int32: "),
    ],
)
def test_metadata_that_do_not_fit(path, value, said):
    from fanin import ArgumentError
    from fanin.weights.gguf_metadata import Typed

    with pytest.raises(ArgumentError) as caught:
        write_gguf(path, {}, "arch", {"k": Typed(*value)})
    assert str(caught.value).startswith(said)
    assert not path.exists()
