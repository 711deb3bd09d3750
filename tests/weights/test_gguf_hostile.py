"""Damaged and hostile GGUF files: one sentence with file and byte, never a wrong tensor, never a crash."""

import contextlib
import struct
import tracemalloc

import numpy as np
import pytest

from fanin import FaninError, WeightsError
from fanin.weights import Tensor, read_gguf, read_weights, write_gguf


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.gguf"


def text(value):
    encoded = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def entry(name="w", shape=(8,), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def write(path, entries=(), pairs=(), data=bytes(32), *, tensors=None, keys=None, magic=b"GGUF", version=3, align=32):
    """The file, and the offset of the first pair or entry."""
    start = magic + struct.pack("<IQQ", version, len(entries) if tensors is None else tensors,
                                len(pairs) if keys is None else keys)  # fmt: skip
    header = start + b"".join(pairs) + b"".join(entries)
    path.write_bytes(header + bytes(-len(header) % align) + data)
    return len(start)


def message(path):
    with pytest.raises(WeightsError) as caught:
        read_gguf(path)
    assert caught.value.path == path
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_a_good_one(path):
    write(path, [entry()], data=np.arange(8, dtype=np.float32).tobytes())
    assert read_gguf(path)["w"].data.tolist() == list(range(8))


def test_missing_empty_folder(path):
    assert message(path) == "there is no such file"
    path.touch()
    assert message(path) == "the file is empty (at byte 0)"
    path.unlink()
    path.mkdir()
    assert message(path) == "is a folder; name a weights file in it"


def test_magic_and_version(path):
    write(path, magic=b"GGML")
    assert message(path) == "not a GGUF file: it starts with b'GGML', not b'GGUF' (at byte 0)"
    write(path, version=1)
    assert message(path) == "this is version 1; fanin reads little-endian GGUF of version 2 and 3 (at byte 4)"
    write(path, version=3 << 24)
    assert message(path) == "this is a big-endian file; fanin reads little-endian GGUF of version 2 and 3 (at byte 4)"


@pytest.mark.parametrize("count", [2**64 - 1, 2**63, 10**6])
def test_absurd_counts(path, count):
    write(path, tensors=count)
    left = path.stat().st_size - 16
    assert (
        message(path) == f"truncated or damaged: it claims {count:,} tensors, only {left:,} bytes are left (at byte 8)"
    )
    write(path, keys=count)
    left = path.stat().st_size - 24
    assert message(path) == (
        f"truncated or damaged: it claims {count:,} metadata values, only {left:,} bytes are left (at byte 16)"
    )


def test_absurd_lengths_allocate_nothing(path):
    huge = 2**40
    cases = [
        [struct.pack("<Q", huge) + b"key"],
        [pair("k", 8, struct.pack("<Q", huge))],
        [pair("k", 9, struct.pack("<IQ", 8, huge))],
        [pair("k", 9, struct.pack("<IQ", 4, huge))],
        [pair("k", 9, struct.pack("<IQ", 4, 2**62))],
    ]
    tracemalloc.start()
    try:
        for pairs in cases:
            write(path, pairs=pairs)
            assert message(path).startswith("truncated or damaged: ")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_text(path):
    start = write(path, pairs=[pair(b"\xff", 4, bytes(4))])
    assert message(path) == f"a metadata key is not UTF-8 text (at byte {start + 8})"
    start = write(path, pairs=[pair("k", 8, struct.pack("<Q", 99) + b"x")])
    assert message(path).startswith("truncated or damaged: metadata 'k' needs 99 bytes, ")


def test_unknown_metadata_types(path):
    start = write(path, pairs=[pair("k", 13, bytes(8))])
    assert message(path) == f"metadata 'k' has the unknown type 13 (at byte {start + 9})"
    start = write(path, pairs=[pair("k", 9, struct.pack("<IQ", 9, 1))])
    assert message(path) == f"metadata 'k' is an array of the unknown type 9 (at byte {start + 13})"


def test_names_twice(path):
    start = write(path, pairs=[pair("k", 0, b"\1")] * 2)
    assert message(path) == f"the metadata key 'k' stands in it twice (at byte {start + 14})"
    start = write(path, [entry(offset=0), entry(offset=32)], data=bytes(64))
    assert message(path) == f"two tensors have the name 'w' (at byte {start + len(entry())})"


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (4, struct.pack("<I", 0), 0),
        (4, struct.pack("<I", 24), 24),
        (5, struct.pack("<i", -32), -32),
        (7, b"\1", True),
        (8, text("32"), "'32'"),
        (10, struct.pack("<Q", 2**40), 2**40),
    ],
)
def test_alignment(path, kind, value, shown):
    write(path, [entry()], [pair("general.alignment", kind, value)])
    assert message(path).startswith(f"general.alignment must be a power of 2, it is {shown} (at byte ")


def test_rank_and_shape(path):
    start = write(path, [entry(shape=(1,) * 5)])
    assert message(path) == f"tensor 'w' has 5 dimensions; GGUF allows 4 (at byte {start + 9})"
    for shape in [(2**63,), (2**62, 4), (2**63, 0), (2**64 - 1, 2**64 - 1)]:
        write(path, [entry(shape=shape)])
        assert message(path).startswith(f"tensor 'w' has the impossible shape {list(reversed(shape))} (at byte ")


@pytest.mark.parametrize(("kind", "shown"), [(9, "Q8_1"), (15, "Q8_K"), (99, "the unknown ggml type 99")])
def test_other_types_are_named(path, kind, shown):
    start = write(path, [entry(kind=kind)])
    assert message(path) == (
        f"tensor 'w' is stored as {shown}; fanin reads float32, float16, int8, int16, int32, int64, float64, bfloat16, "
        "Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ2_XXS, IQ2_XS, IQ3_XXS, IQ1_S, IQ4_NL, IQ3_S, "
        f"IQ2_S, IQ4_XS, IQ1_M, TQ1_0, TQ2_0, MXFP4, NVFP4 (at byte {start + 9 + 4 + 8})"
    )


def test_offsets(path):
    start = write(path, [entry(offset=4)], data=bytes(64))
    assert message(path) == (
        f"tensor 'w' has the offset 4, not a multiple of the alignment 32 (at byte {start + 9 + 4 + 8 + 4})"
    )
    for offset in (32, 2**40, 2**64 - 32):
        start = write(path, [entry(offset=offset)])
        begin = path.stat().st_size - 32 + offset
        assert message(path) == (
            f"truncated or damaged: tensor 'w' lies at bytes {begin:,} to {begin + 32:,}, the file has "
            f"{path.stat().st_size:,} (at byte {start})"
        )


def test_overlap(path):
    write(path, [entry("a", (16,)), entry("b", (8,), offset=32)], data=bytes(64))
    assert message(path) == f"tensors 'a' and 'b' overlap (at byte {path.stat().st_size - 32})"


def test_an_empty_tensor_overlaps_nothing(path):
    write(path, [entry("a", (16,)), entry("b", (0,), offset=32)], data=bytes(64))
    assert read_gguf(path)["b"].shape == (0,)


def small(path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensors = {"w": weight, "b": Tensor(np.zeros(9, np.uint16), "bfloat16")}
    write_gguf(path, tensors, "arch", {"n": 3, "s": "text"})
    return path.read_bytes()


def test_truncated_anywhere(path):
    whole = small(path)
    padding = -(9 * 2) % 32
    for length in range(1, len(whole) - padding):
        path.write_bytes(whole[:length])
        with pytest.raises(WeightsError) as caught:
            read_gguf(path)
        assert str(caught.value).startswith(f"{path}: ")
    path.write_bytes(whole[:-padding])
    assert read_gguf(path)["b"].shape == (9,)  # the padding at the end holds nothing


def test_any_byte_changed(path, mutants):
    for _ in mutants(path, small(path)):
        with contextlib.suppress(FaninError):
            for tensor in read_gguf(path).values():
                tensor.data.sum()


def test_suffix_decides_where_the_magic_is_wrong(path):
    path.write_bytes(b"nonsense, but long enough")
    with pytest.raises(WeightsError, match="not a GGUF file: it starts with b'nons', not b'GGUF'"):
        read_weights(path)
