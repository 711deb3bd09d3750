"""NumPy's archives: mapped or unpacked, checked against their checksums, never unpickled."""

import tracemalloc
import zipfile
from time import process_time

import numpy as np
import pytest
import torch

from fanin import WeightsError, open_weights
from fanin.weights import read_weights

KINDS = ["<f2", "<f4", "<f8", "i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "?", "<c8"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.npz"


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["stored", "packed"])
def save(request, path):
    def write(**arrays):
        request.param(path, **arrays)
        return path

    return write


def message(path):
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    return str(caught.value).removeprefix(f"{path}: ")


def test_as_numpy_reads_it(save):
    arrays = {
        f"{kind[-2:]}.w": (np.arange(24) * 5 - 9).astype(kind).reshape(2, 3, 4) for kind in KINDS if kind[1:] != "1"
    }
    arrays |= {"scalar": np.float32(2.5), "empty": np.zeros((0, 3)), "columns": np.asfortranarray(np.eye(3)[:2])}
    path = save(**arrays)
    found = read_weights(path)
    assert found.format == "npz"
    with np.load(path) as wanted:
        assert list(found) == list(wanted)
        for name in wanted:
            tensor = found[name]
            assert (tensor.dtype, tensor.shape) == (wanted[name].dtype.name, wanted[name].shape)
            assert np.array_equal(tensor.data, wanted[name])
            assert torch.equal(open_weights(path)[name], torch.from_numpy(wanted[name]))


def test_big_endian_arrays(save):
    values = np.arange(6, dtype=">f4").reshape(2, 3)
    tensor = read_weights(save(w=values))["w"]
    assert tensor.data.dtype == np.dtype("<f4")
    assert np.array_equal(tensor.data, values)


def test_stored_arrays_are_plain_and_packed_ones_not(path):
    np.savez(path, w=np.arange(5.0), t=np.asfortranarray(np.ones((2, 3))))
    places = read_weights(path).places
    assert (places["w"].plain, places["t"].plain) == (True, False)
    assert path.read_bytes()[places["w"].begin : places["w"].end] == np.arange(5.0).tobytes()
    np.savez_compressed(path, w=np.arange(5.0))
    assert not read_weights(path).places["w"].plain


def test_what_is_no_tensor_is_left_out_and_named(save):
    path = save(w=np.ones(2), names=np.array(["a"]), made=np.array([{}], object), records=np.zeros(1, [("a", "<f4")]))
    found = read_weights(path)
    assert list(found) == ["w"]
    assert found.notes == (
        "left out 'names': values of NumPy type '<U1'",
        "left out 'made': values of NumPy type '|O'",
        "left out 'records': records",
    )
    alone = message(save(names=np.array(["a"])))
    assert alone == "the archive holds no array of numbers; left out 'names': values of NumPy type '<U1'"


def test_numbers_no_tensor_holds_are_an_error(save):
    assert "the array has NumPy type '<c16', which no tensor here holds: convert it (at byte " in message(
        save(w=np.ones(2, complex))
    )


def test_one_array(tmp_path):
    path = tmp_path / "words.npy"
    np.save(path, np.arange(6.0).reshape(2, 3))
    found = read_weights(path)
    assert (found.format, list(found)) == ("npy", ["words"])
    assert np.array_equal(found["words"].data, np.load(path))
    assert np.shares_memory(found["words"].data, found.files[0].data)
    np.save(path, np.array([{}]), allow_pickle=True)
    assert message(path) == "holds values of NumPy type '|O', which is no tensor"


def test_a_wrong_bit_is_seen(save):
    path = save(w=np.arange(1000.0))
    whole = bytearray(path.read_bytes())
    whole[600] ^= 1
    path.write_bytes(whole)
    with pytest.raises(WeightsError, match=r"member 'w.npy' (is damaged|has 8,117 bytes).*\(at byte \d+\)"):
        read_weights(path)["w"]


def archive(path, data, name="w.npy", method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr(name, data)
    return path


def npy(header, data=b"", major=1):
    text = header.encode()
    return b"\x93NUMPY" + bytes([major, 0]) + len(text).to_bytes(2 if major == 1 else 4, "little") + text + data


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"


@pytest.mark.parametrize("major", [1, 2, 3])
def test_hand_written_header(path, major):
    assert read_weights(archive(path, npy(GOOD, bytes(8), major)))["w"].shape == (2,)


def test_header_of_python_2(path):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }"
    assert read_weights(archive(path, npy(header, bytes(8))))["w"].shape == (2, 1)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a .npy file: it starts with b''"),
        (b"PK\3\4" * 8, "not a .npy file: it starts with b'PK"),
        (npy(GOOD, bytes(8), 9), "a .npy file of version 9; fanin reads 1, 2 and 3"),
        (npy(GOOD)[:30], "the .npy header claims 57 bytes"),
        (npy(GOOD, b"", 2)[:8] + b"\xff\xff\xff\xff{", "the .npy header claims 4,294,967,295 bytes"),
        (npy(GOOD, bytes(7)), "float32 with shape [2] does not fill its 7 bytes"),
        (npy(GOOD, bytes(9)), "float32 with shape [2] does not fill its 9 bytes"),
        (npy(GOOD.replace("2,", "-2,"), bytes(8)), "the .npy header is damaged"),
        (npy(GOOD.replace("2,", "9" * 20), bytes(8)), "does not fill its 8 bytes"),
        (npy(GOOD.replace("2,", "9" * 4000), bytes(8)), "the .npy header is damaged"),
        (npy(GOOD.replace("2,", "1," * 65), bytes(4)), "does not fill its 4 bytes"),
        (npy(GOOD.replace("False", "maybe"), bytes(8)), "the .npy header is damaged"),
        (npy("{'descr': '<f4', 'descr': '<f4', 'shape': (2,), }", bytes(8)), "the .npy header is damaged"),
        (npy("__import__('os').system('false')", bytes(8)), "the .npy header is damaged"),
        (npy("(" * 10_000, b""), "the .npy header is damaged"),
    ],
)
def test_damaged_headers(path, data, why):
    assert why in message(archive(path, data))


def test_a_header_that_could_be_read_in_many_ways(path):
    gap = " " * 3_000
    start = process_time()
    header = f"{{'descr': '<f4'{gap}'fortran_order': False{gap}'shape': (2,){gap}'"
    assert "the .npy header is damaged" in message(archive(path, npy(header, bytes(8))))
    assert process_time() - start < 2


def test_an_archive_of_something_else(path):
    assert (
        message(archive(path, b"hello", "read.me")) == "is a zip archive without weights: neither PyTorch's nor an .npz"
    )
    assert message(archive(path, b"hello")).startswith("not a .npy file: it starts with b'hello'")
    with zipfile.ZipFile(path, "w"):
        pass
    assert message(path) == "the archive holds no array of numbers"


def test_two_names_that_become_one(path):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("w", npy(GOOD, bytes(8)))
        made.writestr("w.npy", npy(GOOD, bytes(8)))
    assert message(path).startswith("two arrays are named 'w' (at byte ")


def test_a_packed_array_takes_no_more_than_it_says(path):
    # 256 MB of zeros in 256 kB, whose header says that it is 1 kB of values.
    archive(path, npy(GOOD.replace("2,", "256,")) + bytes(1 << 20), method=zipfile.ZIP_DEFLATED)
    assert "does not fill its" in message(path)
    tracemalloc.start()
    archive(path, npy(GOOD.replace("2,", "67108864,"), bytes(1 << 28)), method=zipfile.ZIP_DEFLATED)
    tracemalloc.clear_traces()
    tracemalloc.reset_peak()
    assert read_weights(path).places["w"].nbytes == 1 << 28
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_any_byte_changed(save, read_mutants):
    path = save(a=np.arange(6.0).reshape(2, 3), b=np.ones(40, np.int8), c=np.array(["x"]))
    whole = path.read_bytes()
    assert read_mutants(path, whole) > 0
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        message(path)
