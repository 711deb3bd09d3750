"""The framework-free tensor: dtypes that NumPy lacks, bytes, exact float32."""

import numpy as np
import pytest
import torch

from fanin import ArgumentError
from fanin.weights import DTYPES, Tensor


def test_every_dtype_is_torchs():
    for name, holder in DTYPES.items():
        assert getattr(torch, name).itemsize == holder.itemsize


def test_of_an_array():
    array = np.zeros((2, 3), np.float32)
    tensor = Tensor.of(array)
    assert (tensor.dtype, tensor.shape, tensor.nbytes) == ("float32", (2, 3), 24)
    assert Tensor.of(tensor) is tensor


def test_bytes_are_rows_little_endian():
    values = np.arange(6, dtype=">f4").reshape(2, 3).T
    assert bytes(Tensor(values, "float32").to_bytes()) == np.ascontiguousarray(values).astype("<f4").tobytes()
    assert bytes(Tensor.of(np.float64(3.0).reshape(())).to_bytes()) == np.float64(3.0).tobytes()
    assert bytes(Tensor.of(np.zeros((0, 3), np.int8)).to_bytes()) == b""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_float32_is_exact(dtype):
    values = torch.randn(1000).mul(100).to(dtype)
    bits = values.view(torch.uint16).numpy() if dtype == torch.bfloat16 else values.numpy()
    found = Tensor(bits, str(dtype).removeprefix("torch.")).to_float32()
    assert found.dtype == "float32"
    assert np.array_equal(found.data, values.float().numpy())


def test_errors():
    with pytest.raises(ArgumentError, match="no weights file holds dtype 'float31'; known: float64, float32"):
        Tensor(np.zeros(1), "float31")
    with pytest.raises(ArgumentError, match="a bfloat16 tensor is held by a uint16 array, got float32"):
        Tensor(np.zeros(1, np.float32), "bfloat16")
    with pytest.raises(ArgumentError, match="no weights file holds dtype 'complex128'"):
        Tensor.of(np.zeros(1, np.complex128))
    with pytest.raises(ArgumentError, match="a float64 tensor has no exact float32 values"):
        Tensor.of(np.zeros(1)).to_float32()
