"""Crafted PyTorch files: one sentence with file and byte; nothing they name runs, and none can take time or memory."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from time import process_time

import pytest
import torch

from fanin import UnknownNameError, WeightsError
from fanin.weights import read_weights
from fanin.weights.mapped import MappedFile
from fanin.weights.pickle_machine import unpickle
from fanin.weights.span import Span
from fanin.weights.torch_legacy import START

TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0%sX\3\0\0\0cpuK\4tQK\0(K\4t(K\1t"
    b"\x89ccollections\nOrderedDict\n)RtR"
)
W = TENSOR % b"0"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.pt"


def write(path, program, storages=(("0", bytes(16)),), method=zipfile.ZIP_STORED, **more):
    """A PyTorch archive around a pickle written by hand."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/data.pkl", b"\x80\2" + program + b".")
        archive.writestr("a/version", b"3\n")
        for key, data in storages:
            archive.writestr(f"a/data/{key}", data)
        for name, data in more.items():
            archive.writestr(f"a/{name}", data)
    return path


def message(path, **arguments):
    with pytest.raises(WeightsError) as caught:
        read_weights(path, **arguments)
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


def named(name, value=W):
    return b"X" + struct.pack("<I", len(name)) + name.encode() + value


def test_the_hand_written_archive_is_one(path):
    write(path, b"}(" + named("w") + b"u")
    assert list(read_weights(path)) == list(torch.load(path)) == ["w"]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_nothing_runs(path, tmp_path, protocol):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"x": Evil(), "y": [Evil()]}, protocol))
    assert message(path) == f"holds no tensors: x ({os.mkdir.__module__}.mkdir), y (list)"
    path.write_bytes(pickle.dumps(Evil(), max(protocol, 2)))
    assert message(path) == (
        "is a plain pickle, which could run any code; save the tensors by torch.save or as safetensors (at byte 0)"
    )
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(X\2\0\0\0lstR",
        b"(X\2\0\0\0lsios\nsystem\n",
        b"(cos\nsystem\nX\2\0\0\0lso",
        b"cos\nsystem\n(X\2\0\0\0lst\x81",
        b"\x8c\2os\x8c\6system\x93(X\2\0\0\0lstR",
        b"cos\nsystem\n)R}(X\1\0\0\0xX\2\0\0\0lsub",
        b"cbuiltins\neval\n(X\3\0\0\0bad" + b"tR",
    ],
)
def test_every_way_of_calling_is_inert(path, program):
    assert message(write(path, program)).startswith("holds no tensors: ")
    assert list(read_weights(write(path, b"}(" + named("w") + b"X\1\0\0\0z" + program + b"u"))) == ["w"]


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (b"0", "it ends a group that never began"),
        (b"}s", "it takes a value that is not there"),
        (b"u", "it ends a group that never began"),
        (b"(t\x94h\5", "nothing was remembered under 5"),
        (b"K\1)R", "holds no tensors: a (an object without a class)"),
        (b"ca\nb\nK\1R", "a call without a tuple of arguments"),
        (b"K\1K\2a", "items for what is no list"),
        (b"K\1(K\2K\3u", "entries for what is no dict"),
        (b"}(K\1u", "a key without a value"),
        (b"K\1K\2\x93", "a class whose name is no text"),
        (b"(o", "an object without a class"),
        (b"\x82\1", "the opcode EXT1, which torch does not write"),
        (b"\xff", "at position"),
        (b"X\xff\xff\xff\x7fabc", "expected 2147483647 bytes"),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x0fabc", "bytes in a bytes8, but only"),
        (b"X\2\0\0\0\xff\xfe", "'utf-8' codec can't decode"),
        (b"I" + b"1" * 5000 + b"\n", "Exceeds the limit"),
        (b"Inix\n", "invalid literal for int"),
        (b"cabc", "no newline found"),
        (b"K\1Q", "a reference that is no torch storage"),
    ],
)
def test_damaged_pickle(path, program, why):
    found = message(write(path, program))
    assert why in found
    assert "(at byte " in found or "holds no tensors" in found


def test_offset_is_that_of_the_opcode(path):
    write(path, b"}(K\1u")
    at = path.read_bytes().index(b"K\1u.") + 2
    assert message(path) == f"truncated or damaged pickle: a key without a value (at byte {at})"


def test_empty_and_endless_pickles(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"")
    assert message(path).startswith("truncated or damaged pickle: pickle exhausted before seeing STOP")
    path.write_bytes(b"]" + b"K\1a" * 5000)
    with pytest.raises(WeightsError, match=r"the pickle has more than 1,000 steps.* \(at byte 1500\)"):
        unpickle(Span.of(MappedFile.open(path)), 0, str, most_steps=1000)


def test_pickle_that_unpacks_to_gigabytes(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"0" * (1 << 27))
    assert path.stat().st_size < 1 << 18
    tracemalloc.start()
    assert message(path).startswith("its data.pkl has 134,217,728 bytes; no list of weights is so long")
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def quickly(path, within=20.0):
    start = process_time()
    found = message(path)
    assert process_time() - start < within
    return found


def test_shared_containers_that_double_at_every_level(path):
    program = b"}(" + named("w") + b"u" + b"".join(b"q\1(X\1\0\0\0ah\1X\1\0\0\0bh\1d" for _ in range(60))
    assert "nest without end" in quickly(write(path, program))
    no_tensors = b"(t" + b"q\1(h\1h\1t" * 60
    assert quickly(write(path, no_tensors)) == "holds no tensors: 0 (tuple), 1 (tuple)"


def test_deep_and_circular_containers(path):
    assert "nest without end" in quickly(write(path, b"]" * 1000 + W + b"a" * 1000))
    assert quickly(write(path, b"]" * 50_000 + b"a" * 49_999)) == "holds no tensors: 0 (list)"
    assert "nest without end" in quickly(write(path, b"]q\1h\1a" + W + b"a"))


def test_keys_that_collide_or_hash_slowly(path):
    collide = b"".join(
        b"\x8a\x10" + (number * ((1 << 61) - 1)).to_bytes(16, "little") + b"N" for number in range(20_000)
    )
    assert "holds no tensors" in quickly(write(path, b"}(" + collide + b"u"))
    slow = b"(t" + b"q\1(h\1h\1t" * 60 + b"q\2}h\2Ns"
    assert quickly(write(path, slow)) == "holds no tensors: a key (NoneType)"


def test_memo_numbers_that_collide(path):
    collide = b"".join(b"p%d\n" % (number * ((1 << 61) - 1)) for number in range(1, 20_000))
    found = quickly(write(path, b"N" + collide + b"0" + W))
    assert found.startswith("truncated or damaged pickle: it remembers a value under an impossible number (at byte ")


MODULE = b"cm\nM\n)\x81q\1}(X\x0b\0\0\0_parameters%bX\x08\0\0\0_buffers}X\x08\0\0\0_modules}ub"


def test_modules_whose_state_is_a_module_or_themselves(path):
    head, tail = MODULE.split(b"%b")
    assert quickly(write(path, head * 5_000 + b"}" + tail * 5_000)) == "holds no tensors: a (m.M)"
    assert quickly(write(path, MODULE % b"h\1")) == "holds no tensors: a (m.M)"
    assert list(read_weights(write(path, MODULE % (b"}(" + named("w") + b"u")))) == ["w"]


def test_numbers_beside_the_tensors_can_be_printed(path):
    write(path, b"}(" + named("w") + named("epoch", b"K\7") + named("huge", b"\x8b\0\x10\0\0" + b"\1" * 4096) + b"u")
    assert read_weights(path).metadata == {"epoch": 7}


def flagged(storage, numel, flag):
    metadata = b"}" + named(flag, b"\x88") + b"s"
    shown = tensor(kind=b"torch\n" + storage, numel=b"K" + bytes([numel]))
    return shown.removesuffix(b"tR") + metadata + b"tR"


def test_text_that_no_other_file_can_hold(path):
    lone = b"X\4\0\0\0\xed\xa0\x80w"
    write(path, b"}(" + lone + W + named("path", lone) + "X\4\0\0\0\U0001f600".encode() + W + b"u")
    found = read_weights(path)
    assert list(found) == ["\\ud800w", "\U0001f600"]
    assert found.metadata == {"path": "\\ud800w"}


def test_lazy_conjugates_and_negatives(path):
    values = struct.pack("<4f", 1, -2, 3, 4)
    write(path, b"}(" + named("w", flagged(b"FloatStorage", 4, "neg")) + b"u", [("0", values)])
    assert read_weights(path)["w"].data.tolist() == [-1, 2, -3, -4]
    refused = [
        ("BoolStorage", 16, "bool", "neg"),
        ("BFloat16Storage", 8, "bfloat16", "neg"),
        ("FloatStorage", 4, "float32", "conj"),
    ]
    for storage, numel, dtype, flag in refused:
        write(path, b"}(" + named("w", flagged(storage.encode(), numel, flag)) + b"u", [("0", values)])
        assert message(path).startswith(
            f"tensor 'w' is a lazy conjugate or negative of dtype {dtype}: save tensor.resolve_conj().resolve_neg()"
        )


def test_one_long_list_named_a_million_times(path):
    long = b"](" + b"K\1" * 50_000 + b"eq\1"
    calls = [
        b"cnumpy\nf\n(h\1tR0",
        b"ctorch\nSize\n(h\1tR0",
        b"ccollections\nOrderedDict\n(h\1tR0",
        b"ca\nb\nh\1q\3\x85R0",
    ]
    for call in calls:
        assert "holds no tensors" in quickly(write(path, long + b"0" + call * 8_000 + b"N"))


def test_huge_memo_numbers_take_no_memory(path):
    tracemalloc.start()
    assert list(read_weights(write(path, b"}(" + named("w") + b"ur\xff\xff\xff\x7f"))) == ["w"]
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def tensor(offset=b"K\0", shape=b"(K\4t", strides=b"(K\1t", numel=b"K\4", kind=b"torch\nFloatStorage", key=b"0"):
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagec%s\nX\1\0\0\0%sX\3\0\0\0cpu%stQ%s%s%s"
        b"\x89ccollections\nOrderedDict\n)RtR" % (kind, key, numel, offset, shape, strides)
    )


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (tensor(offset=b"K\1"), "a tensor of shape [4] with strides [1] at 1 does not fit its storage of 4 elements"),
        (tensor(offset=b"J\xff\xff\xff\xff"), "are not whole numbers from 0 up"),
        (tensor(offset=b"N"), "are not whole numbers from 0 up"),
        (tensor(shape=b"(K\5t"), "a tensor of shape [5] with strides [1] at 0 does not fit its storage"),
        (tensor(shape=b"(J\xff\xff\xff\xfft"), "are not whole numbers from 0 up"),
        (tensor(shape=b"(\x88t"), "are not whole numbers from 0 up"),
        (tensor(shape=b"]"), "whose shape and strides are no tuples"),
        (tensor(strides=b"(K\2t"), "with strides [2] at 0 does not fit its storage of 4 elements"),
        (tensor(strides=b")"), "a tensor of 1 dimensions with 0 strides"),
        (tensor(shape=b"(" + b"K\1" * 65 + b"t", strides=b"(" + b"K\1" * 65 + b"t"), "a tensor of 65 dimensions"),
        (tensor(shape=b"(\x8a\x09" + bytes(8) + b"\1t"), "are not whole numbers from 0 up"),
        (tensor(shape=b"(\x8a\x08" + bytes(7) + b"\x10" + b"K\x10t", strides=b"(K\0K\0t"), "does not fit its storage"),
        (tensor(shape=b"(J\0\0\0\x10t", strides=b"(K\0t"), "repeats a few stored values without end"),
        (tensor(numel=b"J\xff\xff\xff\xff"), "a storage of impossible size"),
        (tensor(numel=b"\x8a\x0a" + bytes(9) + b"\1"), "a storage of impossible size"),
        (tensor(numel=b"K\5"), "storage '0' has 16 bytes, not 20"),
        (
            tensor(kind=b"torch\nQInt8Storage"),
            "tensor 'w' is quantised, or of a dtype fanin does not hold (QInt8Storage)",
        ),
        (tensor(kind=b"os\nFloatStorage"), "a reference that is no torch storage"),
        (tensor(key=b"7"), "the archive has no storage 'a/data/7'"),
        (tensor(key=b"/"), "the archive has no storage 'a/data//'"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R", "a tensor without storage, offset, shape and strides"),
        (b"ctorch._utils\n_rebuild_tensor_v3\n)R", "a tensor without storage, offset, shape, strides and dtype"),
        (b"ctorch._utils\n_rebuild_parameter\n)R", "a call without arguments"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n)R", "a tensor without its class"),
    ],
)
def test_impossible_tensors(path, bad, why):
    found = message(write(path, b"}(" + named("w", bad) + b"u"))
    assert why in found
    assert "(at byte " in found


def test_two_tensors_of_one_name(path):
    inner = b"}(" + named("b") + b"u"
    write(path, b"}(" + named("x", b"}(" + named("a", inner) + named("a.b") + b"u") + b"u")
    assert "two tensors are named 'a.b'" in message(path)


def test_byte_order(path):
    assert list(read_weights(write(path, b"}(" + named("w") + b"u", byteorder=b"little"))) == ["w"]
    found = message(write(path, b"}(" + named("w") + b"u", byteorder=b"big"))
    assert found.startswith("the values are in byte order b'big'; fanin reads little-endian files (at byte ")


def test_two_pickles(path):
    write(path, W)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("b/data.pkl", b"N.")
    assert message(path) == "a PyTorch archive has one data.pkl in its folder, this one has 2"


def test_no_such_entry(path):
    write(path, b"}(" + named("model", b"}(" + named("w") + b"u") + b"u")
    with pytest.raises(
        UnknownNameError, match=r"unknown entry of .*a.pt 'modle'; did you mean 'model'\? Known: model."
    ):
        read_weights(path, "modle")


def legacy(path, value):
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"M\xe9\3.", b"M\xe8\3.", "a PyTorch file of an unknown protocol; fanin reads 1001"),
        (b"little_endianq\2\x88", b"little_endianq\2\x89", "the values are not little-endian"),
        (b"\4\0\0\0\0\0\0\0\0\0", b"\5\0\0\0\0\0\0\0\0\0", "has 5 elements, and 4 are wanted"),
        (b"\4\0\0\0\0\0\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff\0\0", "has -1 elements, and 4 are wanted"),
    ],
)
def test_damaged_legacy(path, old, new, why):
    whole = legacy(path, {"w": torch.zeros(4)})
    assert whole.count(old) >= 1
    head, _, tail = bytes(whole).rpartition(old)
    path.write_bytes(head + new + tail)
    assert why in message(path)


def test_a_view_of_a_storage_without_a_dtype_begins_at_its_byte(path):
    view = b"(" + named("v", b"K K tt")  # from byte 32 on, 32 bytes
    storage = b"((X\7\0\0\0storagectorch.storage\nUntypedStorage\nX\1\0\0\x000X\3\0\0\0cpuK@" + view + b"Q"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v3\n" + storage + b"K\0(K\7t(K\1t\x89Nctorch\nfloat32\ntR"
    system = pickle.dumps({"little_endian": True}, 2)
    head = START + b"\x80\2M\xe9\3." + system + b"\x80\2}(" + named("w", rebuilt) + b"u." + pickle.dumps(["0"], 2)
    path.write_bytes(head + struct.pack("<q16f", 64, *range(16)))
    assert read_weights(path)["w"].data.tolist() == [8, 9, 10, 11, 12, 13, 14]


def test_truncated_and_prolonged_legacy(path):
    whole = legacy(path, {"w": torch.arange(4.0)})
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        message(path)
    path.write_bytes(whole[:-1])
    assert "needs 16 bytes from" in message(path)
    path.write_bytes(whole + b"123")
    assert message(path) == f"damaged: 3 bytes at the end belong to no storage (at byte {len(whole)})"


def test_truncated_zip(path):
    torch.save({"w": torch.arange(4.0)}, path)
    whole = path.read_bytes()
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        message(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_any_byte_changed(path, zipped, read_mutants):
    buffer = io.BytesIO()
    state = {"a": torch.arange(6.0).view(2, 3).T, "b": [torch.ones(3, dtype=torch.bfloat16)], "step": 3}
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    assert read_mutants(path, buffer.getvalue()) > 0
