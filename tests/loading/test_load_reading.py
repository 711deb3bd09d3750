"""How a load reads a file: exact bits, every value looked at, nothing mapped, and files that change meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import fanin
from fanin import HalfWrittenError, WeightsError
from fanin.loading.finite import DTYPES, Finite, all_finite
from fanin.random.kernels.streaming import LEAST
from fanin.torch.reads import CHUNK, WINDOW, Reads
from fanin.torch.stretches import Read, joined
from fanin.weights.huge_pages import HUGE, HugePages
from fanin.weights.mapped import MappedFile

SIZES = (0, 1, 7, CHUNK // 2 + 3, 9 * (1 << 20) + 5)  # elements: none, a word and less, past a chunk, by all threads


class Held(nn.Module):
    """A model of the given tensors, of other values."""

    def __init__(self, tensors: dict[str, torch.Tensor], device: str) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, torch.zeros_like(tensor, device=device))


def some(dtype: torch.dtype, size: int) -> torch.Tensor:
    bits = torch.randint(0, 256, (size * dtype.itemsize,), dtype=torch.uint8)
    if dtype in DTYPES:  # finite: an exponent without its highest bit
        bits.view(size, dtype.itemsize)[:, -1] &= 0xBF
    elif dtype is torch.bool:
        bits &= 1
    return bits.view(dtype)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int64, torch.bool],
    ids=str,
)
def test_every_bit_arrives(tmp_path: Path, dtype: torch.dtype, device: str) -> None:
    sizes = SIZES if dtype in (torch.float32, torch.bfloat16) else SIZES[:-1]
    tensors = {f"t{size}": some(dtype, size) for size in sizes}
    save_file(tensors, tmp_path / "a.safetensors")
    model = Held(tensors, device)
    fanin.load(model, tmp_path / "a.safetensors")
    for name, tensor in tensors.items():
        assert torch.equal(getattr(model, name).view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("place", [0, CHUNK // 4 - 1, CHUNK // 4, 3 * CHUNK // 4 + 1, 3 * CHUNK // 4 + 2])
def test_a_value_that_is_not_finite_is_found_wherever_it_lies(tmp_path: Path, place: int, device: str) -> None:
    tensors = {"a": torch.ones(3 * CHUNK // 4 + 3), "b": torch.ones(5), "c": torch.ones(3)}
    tensors["a"][place], tensors["c"][2] = float("inf"), float("nan")
    save_file(tensors, tmp_path / "a.safetensors")
    model = Held(tensors, device)
    with pytest.raises(WeightsError) as caught:
        fanin.load(model, tmp_path / "a.safetensors")
    assert str(caught.value) == (
        f"{tmp_path / 'a.safetensors'}: 'a' has values that are not finite (1 infinite of {tensors['a'].numel():,} "
        "values), and so have 1 more, as 'c': pass nonfinite='allow' to load them as they are"
    )
    assert all(buffer.is_meta if device == "meta" else not buffer.any() for buffer in model.buffers())
    fanin.load(model, tmp_path / "a.safetensors", nonfinite="allow")
    assert all(torch.equal(buffer.isfinite(), tensors[name].isfinite()) for name, buffer in model.named_buffers())


def test_tensors_that_follow_one_another_are_read_as_one(tmp_path: Path) -> None:
    values = [float("nan") if number == 7 else float(number) for number in range(50)]
    save_file({f"t{i}": torch.full((3,), value) for i, value in enumerate(values)}, tmp_path / "a.safetensors")
    file = fanin.open_weights(tmp_path / "a.safetensors")
    found = {name: stretch for name in file if (stretch := file.stretch(name)) is not None}
    (whole,) = joined(list(found.values())[::-1])
    assert (whole.nbytes, len(found)) == (600, 50)
    apart = [found["t0"], found["t2"]]
    assert joined(apart) == sorted(apart, key=lambda each: each.begin)
    assert not all_finite([(whole, torch.float32)])
    assert all_finite((stretch, torch.float32) for name, stretch in found.items() if name != "t7")
    assert not all_finite([(found["t0"], torch.float32), (found["t7"], torch.float32)])


def test_what_the_user_holds_of_an_opened_file_stays(tmp_path: Path) -> None:
    save_file({"w": torch.ones(5000, dtype=torch.float16)}, tmp_path / "a.safetensors")
    file = fanin.open_weights(tmp_path / "a.safetensors")
    mine = file["w"]
    mine.fill_(3)
    fanin.load(Held({"w": torch.zeros(5000)}, "cpu"), file, cast=True)
    assert bool((mine == 3).all())


class Mixed(nn.Module):
    """A model of which every second tensor has no memory yet."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        for number, (name, tensor) in enumerate(tensors.items()):
            self.register_buffer(name, torch.zeros_like(tensor, device="meta" if number % 2 else "cpu"))


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["cpu", "meta", "mixed"])
def test_the_last_value_of_a_large_file_decides_before_the_first_is_written(
    tmp_path: Path, kind: str, dtype: torch.dtype, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANIN_NUM_THREADS", threads)
    tensors = {f"t{number}": torch.ones((LEAST // 3 + 64) // dtype.itemsize, dtype=dtype) for number in range(4)}
    tensors["t3"][-1] = float("nan")
    save_file(tensors, tmp_path / "a.safetensors")
    model = Mixed(tensors) if kind == "mixed" else Held(tensors, kind)
    before = {name: buffer.is_meta for name, buffer in model.named_buffers()}
    with pytest.raises(WeightsError, match=r"'t3' has values that are not finite \(1 NaN of"):
        fanin.load(model, tmp_path / "a.safetensors")
    assert {name: buffer.is_meta for name, buffer in model.named_buffers()} == before
    assert all(buffer.is_meta or not buffer.any() for buffer in model.buffers())
    assert fanin.unkeep(model) == ()
    fanin.load(model, tmp_path / "a.safetensors", nonfinite="allow")
    bits = {name: buffer.view(torch.uint8) for name, buffer in model.named_buffers()}
    assert all(torch.equal(bits[name], tensor.view(torch.uint8)) for name, tensor in tensors.items())


@pytest.mark.skipif(sys.platform != "linux", reason="its kernel gives pages back to Linux")
@pytest.mark.parametrize("skew", [0, 2, 6, 62])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_copy_past_the_caches_has_every_bit_and_sees_every_value(dtype: torch.dtype, skew: int) -> None:
    from fanin.torch.reading_kernel import read_windows

    skew -= skew % dtype.itemsize
    size = 1000 * dtype.itemsize
    room, held = np.zeros(size + 128, np.uint8), np.zeros(size + 128, np.uint8)
    run, out = held[skew : skew + size], room[64 - skew : 64 - skew + size]
    values = torch.from_numpy(run).view(dtype)
    values.copy_(some(dtype, 1000))
    every = Finite(dtype)
    places = np.array([run.ctypes.data] * 2, np.uint64), np.array([out.ctypes.data, 0], np.uint64)
    numbers = [np.array([number] * 2, np.uint64) for number in (size, every.exponents, every.units, 0)]
    window = np.array([0, 2]), np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    for place in (None, *range(40), 499, *range(960, 1000)):
        value = 0.0 if place is None else float(values[place])
        if place is not None:
            values[place] = float("nan") if place % 2 else float("-inf")
        looked = Finite(dtype)
        looked.look(run)
        read_windows(*places, *numbers, *window, 0)
        assert looked.all_finite == (place is None)
        assert [bool(found & every.signs) for found in numbers[-1]] == [place is not None] * 2
        assert np.array_equal(out, run)
        if place is not None:
            values[place] = value
    assert not room[: 64 - skew].any()
    assert not room[64 - skew + size :].any()


@pytest.mark.parametrize(("tensor", "size"), [(0, HUGE), (5 * HUGE, 2 * HUGE), (100 * HUGE, 4 * HUGE)])
@pytest.mark.parametrize("huge", [False, True])
def test_mapped_and_read_bytes_are_the_same(
    tmp_path: Path, huge: bool, tensor: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways of reading, whichever this system would take; windows, borders of tensors and ends apart."""
    monkeypatch.setenv("FANIN_NUM_THREADS", "2")
    sizes = (0, 5, WINDOW // 4 - 3, 3 * WINDOW // 4 + 7, 3, WINDOW // 4, 11)
    tensors = {f"t{number}": some(torch.float32, size) for number, size in enumerate(sizes)}
    tensors["t3"][WINDOW // 4] = float("nan")  # in a window where others end and begin
    save_file(tensors, tmp_path / "a.safetensors")
    file = fanin.open_weights(tmp_path / "a.safetensors")
    outs = {name: torch.zeros_like(each) for name, each in tensors.items()}
    looks = {name: Finite(torch.float32) for name in ("t1", "t3", "t5")}
    stretches = {name: found for name in file if (found := file.stretch(name)) is not None}
    every = [Read(stretches[name], outs[name], looks.get(name)) for name in outs]
    every.append(Read(stretches["t2"], None, look := Finite(torch.float32)))
    (reads,) = Reads.of(every, tensor)
    assert reads.size == size
    parts = reads.parts
    assert (parts.ends - parts.begins).sum() == sum(each.nbytes for each in tensors.values()) + tensors["t2"].nbytes
    numbers = [number for number, read in enumerate(every) if read.stretch.nbytes]
    (mapped,) = file.file.files
    data = mapped.mapped_again()
    pages = HugePages(mapped, data, np.frombuffer(data, np.uint8))
    Reads.of_file(every, numbers, size, pages if huge else None).run(2)
    assert look.all_finite
    assert {name: each.all_finite for name, each in looks.items()} == {"t1": True, "t3": False, "t5": True}
    assert all(torch.equal(outs[name].view(torch.uint8), each.view(torch.uint8)) for name, each in tensors.items())
    os.truncate(tmp_path / "a.safetensors", WINDOW)
    with pytest.raises(WeightsError, match="the file changed while it was read"):
        Reads.of_file(every, numbers, size, pages if huge else None).run(1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_one_thread_reads_all_of_a_file_that_it_takes_in_several_goes(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANIN_NUM_THREADS", "1")
    values = some(torch.float32, SIZES[-1])
    save_file({"a": values}, tmp_path / "a.safetensors")
    model = Held({"a": values}, device)
    fanin.load(model, tmp_path / "a.safetensors")
    assert torch.equal(model.a.view(torch.uint8), values.view(torch.uint8))
    values[-1] = float("inf")
    save_file({"a": values}, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match="1 infinite of"):
        fanin.load(model, tmp_path / "a.safetensors")


def test_small_pages_are_not_mapped(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb", buffering=0) as out:
        for _ in range(16 << 8):
            out.write(bytes(1 << 12))
    file = MappedFile.open(tmp_path / "a")
    assert HugePages.of(file, 0, 4 * HUGE) is None  # too few to tell
    assert HugePages.of(file, 0, 16 << 20) is None


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_file_that_is_shortened_meanwhile_is_an_error(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANIN_NUM_THREADS", "1")  # that reads 16 MiB between two reports
    tensors = {f"t{number}": torch.ones(1 << 22) for number in range(3)}
    save_file(tensors, path := tmp_path / "a.safetensors")
    model = Held(tensors, device)
    with pytest.raises(HalfWrittenError if device == "cpu" else WeightsError) as caught:
        fanin.load(model, path, progress=lambda done, total: os.truncate(path, 2000))
    error = caught.value.__cause__ if device == "cpu" else caught.value
    assert isinstance(error, WeightsError)
    assert "the file changed while it was read" in str(error)
    assert device == "cpu" or all(buffer.is_meta for buffer in model.buffers())


PEAKS = """
import json, sys
import torch
from pathlib import Path
import fanin

def peak(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

class Net(torch.nn.Module):
    def __init__(self, dtype):
        super().__init__()
        for i in range(24):
            self.register_buffer(f"w{i}", torch.ones(1 << 20, dtype=dtype))

def taken(path, device, dtype):
    with torch.device(device): models = [Net(dtype), Net(dtype)]
    fanin.load(models[0], path)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    fanin.load(models[1], path)
    return (peak() - before) / (1 << 22)

cases = [(path, *each) for path in sys.argv[1:] for each in (
    ("cpu", torch.float32), ("meta", torch.float32), ("cpu", torch.float64), ("meta", torch.float64))]
print(json.dumps([taken(*case) for case in cases]))
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells the peak")
def test_the_peak_is_the_model_and_one_tensor(tmp_path: Path) -> None:
    """Anonymous memory and pages of files together, in tensors of the file's 24 of 4 MiB."""
    tensors = {f"w{i}": torch.full((1 << 20,), float(i)) for i in range(24)}
    paths = [tmp_path / "a.safetensors", tmp_path / "a.pt"]
    save_file(tensors, paths[0])
    torch.save(tensors, paths[1])
    run = subprocess.run([sys.executable, "-c", PEAKS, *map(str, paths)], capture_output=True, text=True, check=True)
    # A real model is there already; one of float64 takes twice as much, and its values pass through mapped pages.
    most = [1.5, 25.5, 2.5, 50.5] * 2
    assert all(peak < limit for peak, limit in zip(json.loads(run.stdout), most, strict=True)), run.stdout


def test_memory_in_another_order_gets_its_values_too(tmp_path: Path) -> None:
    weight = torch.randn(30, 40)
    save_file({"w": weight}, tmp_path / "a.safetensors")
    model = Held({"w": torch.zeros(40, 30)}, "cpu")
    model.w = model.w.T
    fanin.load(model, tmp_path / "a.safetensors")
    assert torch.equal(model.w, weight)
    assert model.w.stride() == (1, 30)


def test_bytes_of_a_mapped_file(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_bytes(bytes(range(100)))
    file = MappedFile.open(path)
    table = file.data[20:32].reshape(3, 4)
    assert (file.begin_of(table), file.begin_of(table.T), file.begin_of(table.copy())) == (20, None, None)
    out = np.zeros(10, np.uint8)
    file.read_into(5, out)
    assert out.tolist() == list(range(5, 15))
    os.truncate(path, 60)
    with pytest.raises(WeightsError, match=r"the file changed while it was read: it had 100 bytes, now 60"):
        file.read_into(55, out)
