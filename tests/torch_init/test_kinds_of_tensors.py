"""Every kind of tensor torch has: strided, empty, meta, fake, leaves, subclasses, under modes and transforms."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import fanin.torch.init as init

FUNCTIONS = {
    "uniform_": (),
    "normal_": (),
    "trunc_normal_": (),
    "truncated_normal_": (),
    "constant_": (0.5,),
    "ones_": (),
    "zeros_": (),
    "xavier_uniform_": (),
    "xavier_normal_": (),
    "kaiming_uniform_": (),
    "kaiming_normal_": (),
    "lecun_uniform_": (),
    "lecun_normal_": (),
    "variance_scaling_": (),
    "orthogonal_": (),
    "delta_orthogonal_": (),
    "sparse_": (0.5,),
    "row_normalized_": (),
    "eye_": (),
    "identity_": (2.0,),
}
CONSTANT = {"constant_", "ones_", "zeros_", "eye_", "identity_"}
each = pytest.mark.parametrize("name", FUNCTIONS)


def call(name, tensor, seed=0):
    torch.manual_seed(seed)
    return getattr(init, name)(tensor, *FUNCTIONS[name])


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_strides_do_not_matter(name, dtype):
    expected = call(name, torch.empty(6, 8, dtype=dtype))
    whole = torch.full((8, 12), 7.0, dtype=dtype)
    view = whole.T[::2]
    assert call(name, view) is view
    assert torch.equal(view, expected)
    assert (whole[:, 1::2] == 7).all()


@each
def test_leaves_are_filled_outside_autograd_and_counted_as_changed(name):
    leaf = nn.Parameter(torch.zeros(6, 8))
    version = leaf._version
    assert call(name, leaf) is leaf
    assert leaf.grad_fn is None
    assert leaf.requires_grad
    assert leaf._version > version
    assert torch.equal(leaf, call(name, torch.zeros(6, 8)))


def test_autograd_notices_the_change():
    weight = torch.randn(3, 3, requires_grad=True)
    loss = (weight * weight).sum()
    init.normal_(weight)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@each
def test_meta_is_left_alone(name):
    tensor = torch.empty(6, 8, device="meta")
    assert call(name, tensor) is tensor
    with torch.device("meta"):
        inner = torch.empty(6, 8)
        assert call(name, inner) is inner
        real = torch.empty(6, 8, device="cpu")
        assert call(name, real) is real
    assert torch.equal(real, call(name, torch.empty(6, 8)))


@each
def test_fake_tensors_are_left_alone_and_see_torch_operations(name):
    before = torch.get_rng_state()
    with FakeTensorMode():
        tensor = torch.empty(6, 8)
        assert getattr(init, name)(tensor, *FUNCTIONS[name]) is tensor
        assert isinstance(tensor, FakeTensor)
    assert getattr(init, name)(tensor, *FUNCTIONS[name]) is tensor  # outside the mode that made it
    assert torch.equal(torch.get_rng_state(), before)


def test_fake_tensors_pass_on_the_law():
    seen = []

    class Recorder(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append((func.overloadpacket._qualified_op_name, args[1:]))
            return func(*args, **(kwargs or {}))

    with FakeTensorMode(), Recorder():
        init.kaiming_normal_(torch.empty(6, 8), nonlinearity="relu")
        init.lecun_uniform_(torch.empty(6, 12))
    assert ("aten::normal_", (0.0, 0.5)) in seen
    assert ("aten::uniform_", (-0.5, 0.5)) in seen


@each
def test_other_modes_see_a_filled_tensor(name):
    class Quiet(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    class Passing(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    expected = call(name, torch.empty(6, 8))
    with Quiet():
        assert torch.equal(call(name, torch.empty(6, 8)), expected)
    with Passing():
        assert torch.equal(call(name, torch.empty(6, 8)), expected)


@each
def test_plain_subclasses_are_filled(name):
    class Named(torch.Tensor):
        pass

    tensor = torch.empty(6, 8).as_subclass(Named)
    assert call(name, tensor) is tensor or name in {"uniform_", "normal_", "constant_", "kaiming_uniform_"}
    assert torch.equal(tensor.as_subclass(torch.Tensor), call(name, torch.empty(6, 8)))


@each
def test_subclasses_that_watch_see_what_torch_shows_them(name):
    seen = []

    class Watching(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append(func)
            return super().__torch_function__(func, types, args, kwargs)

    call(name, torch.empty(6, 8).as_subclass(Watching))
    assert seen
    if name in {"uniform_", "normal_", "constant_", "kaiming_uniform_"}:
        assert seen == [getattr(init, name)]


def test_watching_subclasses_see_the_operation_inside():
    seen = []

    class Watching(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append((func.__name__, *args[1:]))
            return super().__torch_function__(func, types, args, kwargs)

    init.xavier_normal_(torch.empty(6, 2).as_subclass(Watching))
    init.orthogonal_(torch.empty(6, 2).as_subclass(Watching))
    assert ("normal_", 0.0, 0.5) in seen
    assert "copy_" in [name for name, *_ in seen]


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - CONSTANT))
def test_expanded_tensors_are_refused_as_by_torch(name):
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        getattr(init, name)(torch.zeros(1, 4).expand(4, 4), *FUNCTIONS[name])
    if "orthogonal" not in name:  # torch's own draws first
        assert torch.equal(torch.get_rng_state(), before)


def test_torch_function_gets_every_argument_by_name():
    class Duck:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return func, args, kwargs

    duck, generator = Duck(), torch.Generator()
    assert init.uniform_(duck, 1, 2, generator) == (
        init.uniform_,
        (),
        {"tensor": duck, "a": 1, "b": 2, "generator": generator},
    )
    assert init.normal_(duck, 1, 2)[2] == {"tensor": duck, "mean": 1, "std": 2, "generator": None}
    assert init.constant_(duck, 3)[2] == {"tensor": duck, "val": 3}
    assert init.kaiming_uniform_(duck, 1, "fan_out", "relu", gain=2.0)[2] == {
        "tensor": duck,
        "a": 1,
        "mode": "fan_out",
        "nonlinearity": "relu",
        "generator": None,
        "gain": 2.0,
    }


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - CONSTANT))
def test_inference_tensors(name):
    with torch.inference_mode():
        tensor = torch.empty(6, 8)
        call(name, tensor)
    assert torch.equal(tensor, call(name, torch.empty(6, 8)))
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        call(name, tensor)


def test_vmap_and_compile_fall_back_to_torch():
    batch = torch.zeros(3, 200)
    torch.func.vmap(lambda t: init.normal_(t), randomness="different")(batch)
    assert 0.7 < batch.std() < 1.3
    compiled = torch.compile(lambda t: init.kaiming_normal_(t), backend="eager", fullgraph=True)
    assert 0.05 < compiled(torch.zeros(100, 200)).std() < 0.2


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_tiny(shape):
    assert 0 <= float(init.uniform_(torch.full(shape, 7.0))) < 1
    if len(shape) == 2:
        assert abs(float(init.orthogonal_(torch.zeros(shape)))) == pytest.approx(1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@each
def test_cuda(name):
    tensor = torch.empty(6, 8, device="cuda")
    assert call(name, tensor) is tensor
    again = call(name, torch.empty(6, 8, device="cuda"))
    assert torch.equal(tensor, again)
    with pytest.raises(RuntimeError, match="generator"):
        init.normal_(tensor, generator=torch.Generator())
