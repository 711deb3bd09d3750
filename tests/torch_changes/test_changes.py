"""Changes of stored values: what each computes, checked by what it is for, and its shape without values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from fanin.errors import FaninError, PlanError
from fanin.initializers import Normal
from fanin.names import keys_in
from fanin.plans.change_words import told
from fanin.plans.changes import KINDS, check_changes
from fanin.torch.changes import Inputs, changed
from fanin.torch.changes.program import OPERATIONS

GENERATOR = torch.Generator().manual_seed(7)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


STORED = {
    "matrix": randn(6, 4),
    "wide": randn(2, 4),
    "heads": randn(16, 5),
    "row": randn(1, 4),
    "conv": randn(8, 3, 4, 4),
    "positions": randn(1, 10, 5),
    "table": randn(9 + 3, 2),
    "experts": randn(3, 2, 4),
    "half": randn(5, 4).to(torch.float16),
    "whole": torch.arange(12).reshape(3, 4),
}
CASES = {
    "transpose": ("matrix", ("transpose", 0, 1)),
    "permute": ("experts", ("permute", 2, 0, 1)),
    "reshape": ("matrix", ("reshape", 2, 12)),
    "unsqueeze": ("matrix", ("unsqueeze", 1)),
    "squeeze": ("row", ("squeeze", 0)),
    "slice": ("matrix", ("slice", 0, 1, 4)),
    "select": ("experts", ("select", 0, 2)),
    "take": ("matrix", ("take", 0, 5, 0, 0)),
    "concat": ("matrix", ("concat", 0, ("wide", ()), ("row", (("scale", 2.0),)))),
    "stack": ("wide", ("stack", 0, ("wide", (("add", 1.0),)))),
    "pairs_to_halves": ("heads", ("pairs_to_halves", 4)),
    "halves_to_pairs": ("heads", ("halves_to_pairs", 2)),
    "add": ("half", ("add", 1.0)),
    "scale": ("half", ("scale", 0.5)),
    "scale_along": ("half", ("scale_along", 1, 0.5, 3.0)),
    "cast": ("matrix", ("cast", "bfloat16")),
    "pad": ("half", ("pad", 0, 7, "mean")),
    "pad_drawn": ("matrix", ("pad_drawn", Normal(std=2.0).to_dict(), 7, 5)),
    "tile": ("whole", ("tile", 1, 9)),
    "adapt_channels": ("conv", ("adapt_channels", 5)),
    "inflate": ("conv", ("inflate", 3)),
    "resample_positions": ("positions", ("resample_positions", 1, 1, 3, 3, 4, 5)),
    "resample_biases": ("table", ("resample_biases", 3, 3, 3, 5, 5)),
    "resample_patches": ("conv", ("resample_patches", 6, 5)),
}
META = Inputs(
    lambda key: STORED[key].to("meta"), lambda law, shape: torch.empty(shape, dtype=torch.float64, device="meta")
)
REAL = Inputs(STORED.__getitem__, lambda law, shape: torch.full(shape, law.moments(shape)[1], dtype=torch.float64))


def run(key: str, *changes: tuple, limit: int = 1 << 22) -> torch.Tensor:
    return changed(key, changes, REAL, limit)


def test_every_op_is_known_to_plans_has_words_and_is_tried_here() -> None:
    assert KINDS.keys() == OPERATIONS.keys() == CASES.keys()
    words = [told((change,)) for _, change in CASES.values()]
    assert all(words), words
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("op", CASES)
def test_shapes_and_dtypes_are_known_without_values(op: str) -> None:
    key, change = CASES[op]
    check_changes((change,))
    form, values = changed(key, (change,), META, 1 << 22), run(key, change)
    assert form.is_meta
    assert (form.shape, form.dtype) == (values.shape, values.dtype)


@pytest.mark.parametrize("op", CASES)
def test_stored_values_are_never_written_to(op: str) -> None:
    before = {key: value.clone() for key, value in STORED.items()}
    key, change = CASES[op]
    run(key, change)
    assert all(torch.equal(value, before[key]) for key, value in STORED.items())


@pytest.mark.parametrize(
    ("op", "expected"),
    {
        "transpose": lambda x: x["matrix"].T,
        "permute": lambda x: x["experts"].transpose(2, 0, 1),
        "reshape": lambda x: x["matrix"].reshape(2, 12),
        "unsqueeze": lambda x: x["matrix"][:, None],
        "squeeze": lambda x: x["row"][0],
        "slice": lambda x: x["matrix"][1:4],
        "select": lambda x: x["experts"][2],
        "take": lambda x: x["matrix"][[5, 0, 0]],
        "concat": lambda x: np.concatenate([x["matrix"], x["wide"], 2 * x["row"]]),
        "stack": lambda x: np.stack([x["wide"], x["wide"] + 1]),
        "pairs_to_halves": lambda x: x["heads"].reshape(4, 2, 2, 5).swapaxes(1, 2).reshape(16, 5),
        "halves_to_pairs": lambda x: x["heads"].reshape(2, 2, 4, 5).swapaxes(1, 2).reshape(16, 5),
        "add": lambda x: x["half"].astype(np.float32) + 1,
        "scale": lambda x: x["half"].astype(np.float32) / 2,
        "scale_along": lambda x: x["half"].astype(np.float32) * np.float32([0.5, 0.5, 3, 3]),
        "tile": lambda x: x["whole"][:, [0, 1, 2, 3, 0, 1, 2, 3, 0]],
        "pad_drawn": lambda x: np.pad(x["matrix"], ((0, 1), (0, 1)), constant_values=2.0),
    }.items(),
)
def test_values_are_those_of_numpy(op: str, expected: object) -> None:
    key, change = CASES[op]
    assert np.array_equal(run(key, change).numpy(), expected({name: value.numpy() for name, value in STORED.items()}))


def test_rotary_layouts_are_inverse() -> None:
    x = STORED["heads"]
    assert torch.equal(run("heads", ("pairs_to_halves", 2), ("halves_to_pairs", 2)), x)
    assert not torch.equal(run("heads", ("pairs_to_halves", 2)), x)


def test_rotary_layouts_give_the_same_attention() -> None:
    """J4: llama's q and k in GGUF have interleaved pairs; rotated there or in halves, the scores are the same."""
    heads, half, width = 2, 4, 5
    angles = torch.linspace(0.1, 1.0, half, dtype=torch.float64)

    def in_pairs(v: torch.Tensor) -> torch.Tensor:
        a, b = v.reshape(heads, half, 2).unbind(-1)
        return torch.stack([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)

    def in_halves(v: torch.Tensor) -> torch.Tensor:
        a, b = v.reshape(heads, 2, half).unbind(1)
        return torch.stack([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], 1)

    x, other = randn(width), randn(width)
    q, k = STORED["heads"], randn(16, width)
    scores = (in_pairs(q @ x) * (k @ other).reshape(heads, half, 2)).sum((1, 2))
    turned = [changed("w", (("pairs_to_halves", heads),), Inputs({"w": w}.__getitem__, REAL.draw), 99) for w in (q, k)]
    again = (in_halves(turned[0] @ x) * (turned[1] @ other).reshape(heads, 2, half)).sum((1, 2))
    assert torch.allclose(scores, again, rtol=1e-12)


def test_rows_padded_with_the_mean() -> None:
    padded = run("half", ("pad", 0, 7, "mean"))
    assert padded.dtype is torch.float32
    assert torch.equal(padded[:5], STORED["half"].float())
    assert torch.allclose(padded[5:], STORED["half"].double().mean(0).float().expand(2, 4), atol=0, rtol=1e-7)
    assert torch.equal(run("half", ("pad", 0, 7, "zeros"))[5:], torch.zeros(2, 4, dtype=torch.float16))


def test_one_channel_is_what_three_equal_ones_gave() -> None:
    """J2: a first convolution for grey images."""
    image, kernel = randn(2, 1, 9, 9), STORED["conv"]
    grey = F.conv2d(image, run("conv", ("adapt_channels", 1)))
    assert torch.allclose(grey, F.conv2d(image.expand(-1, 3, -1, -1), kernel), rtol=1e-12)


@pytest.mark.parametrize("copies", [2, 3])
def test_repeated_channels_give_what_one_set_gave(copies: int) -> None:
    """J2: a first convolution for images of more channels than three."""
    image, kernel = randn(2, 3, 9, 9), STORED["conv"]
    more = F.conv2d(image.repeat(1, copies, 1, 1), run("conv", ("adapt_channels", 3 * copies)))
    assert torch.allclose(more, F.conv2d(image, kernel), rtol=1e-12)


def test_channels_between_whole_copies_are_taken_in_turn() -> None:
    kernel, more = STORED["conv"], run("conv", ("adapt_channels", 5))
    assert torch.equal(more, kernel[:, [0, 1, 2, 0, 1]] * (3 / 5))


def test_a_still_video_gives_what_its_image_gave() -> None:
    image, kernel = randn(2, 3, 9, 9), STORED["conv"]
    video = image.unsqueeze(2).expand(-1, -1, 3, -1, -1)
    out = F.conv3d(video, run("conv", ("inflate", 3))).squeeze(2)
    assert torch.allclose(out, F.conv2d(image, kernel), rtol=1e-12)


def resize_matrix(old: tuple[int, int], new: tuple[int, int]) -> torch.Tensor:
    """The matrix of bicubic resizing, one column for each old pixel."""
    basis = torch.eye(old[0] * old[1], dtype=torch.float64).reshape(-1, 1, *old)
    return F.interpolate(basis, size=new, mode="bicubic", antialias=True).flatten(1).T


def test_patches_that_grow_have_the_same_products() -> None:
    """FlexiViT, section 3.4: ⟨Bx, ŵ⟩ = ⟨x, w⟩ for every patch x."""
    kernel = STORED["conv"]
    grown = run("conv", ("resample_patches", 7, 6))
    patches = randn(20, 3, 16)
    resized = patches @ resize_matrix((4, 4), (7, 6)).T
    before = torch.einsum("pci,oci->po", patches, kernel.flatten(2))
    after = torch.einsum("pci,oci->po", resized, grown.flatten(2))
    assert torch.allclose(before, after, rtol=1e-9, atol=1e-9)


def test_patches_that_shrink_have_the_nearest_products() -> None:
    kernel = STORED["conv"]
    matrix = resize_matrix((4, 4), (3, 2))
    nearest = torch.linalg.lstsq(matrix.T, kernel.flatten(2).reshape(-1, 16).T).solution.T
    assert torch.allclose(run("conv", ("resample_patches", 3, 2)).reshape(-1, 6), nearest, rtol=1e-9, atol=1e-9)


def test_positions_of_an_image_are_interpolated_after_their_prefix() -> None:
    """J2: position embeddings for another image size."""
    table = STORED["positions"]
    grown = run("positions", ("resample_positions", 1, 1, 3, 3, 4, 5))
    grid = table[:, 1:].reshape(1, 3, 3, 5).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(4, 5), mode="bicubic", antialias=True).permute(0, 2, 3, 1).reshape(1, 20, 5)
    assert torch.equal(grown[:, :1], table[:, :1])
    assert torch.allclose(grown[:, 1:], expected, rtol=1e-12)


def test_positions_of_a_text_are_interpolated_linearly() -> None:
    line = torch.arange(8, dtype=torch.float64)[:, None] * torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    grown = changed("p", (("resample_positions", 0, 0, 8, 16),), Inputs({"p": line}.__getitem__, REAL.draw), 99)
    places = ((torch.arange(16, dtype=torch.float64) + 0.5) / 2 - 0.5).clamp(0, 7)
    assert torch.allclose(grown, places[:, None] * torch.tensor([[1.0, -2.0]], dtype=torch.float64), rtol=1e-12)


def test_shrinking_averages_rather_than_drops() -> None:
    spikes = torch.zeros(64, 1)
    spikes[1::4] = 1.0
    fewer = changed("p", (("resample_positions", 0, 0, 64, 8),), Inputs({"p": spikes}.__getitem__, REAL.draw), 99)
    assert torch.allclose(fewer[1:-1], torch.full((6, 1), 0.25), atol=0.02)


def test_relative_positions_keep_their_centre_and_their_extra_rows() -> None:
    table = STORED["table"]
    grown = run("table", ("resample_biases", 3, 3, 3, 5, 5))
    assert torch.equal(grown[25:], table[9:])
    assert torch.allclose(grown[12], table[4], atol=0.35)  # offset (0, 0) is in the middle of both
    even = table.clone()
    even[:9] = 0.5
    grown = changed("t", (("resample_biases", 3, 3, 3, 5, 5),), Inputs({"t": even}.__getitem__, REAL.draw), 999)
    assert torch.allclose(grown[:25], torch.full((25, 2), 0.5, dtype=torch.float64), rtol=1e-12)


def test_narrow_types_are_computed_in_float32_and_not_rounded_back() -> None:
    stored = {"p": randn(4, 3).to(torch.bfloat16)}
    inputs = Inputs(stored.__getitem__, REAL.draw)
    grown = changed("p", (("resample_positions", 0, 0, 4, 7),), inputs, 99)
    exact = changed("p", (("cast", "float64"), ("resample_positions", 0, 0, 4, 7)), inputs, 99)
    assert grown.dtype is torch.float32
    assert torch.allclose(grown.double(), exact, rtol=1e-6, atol=1e-6)


IMPOSSIBLE = {
    "a slice outside": ("matrix", ("slice", 0, 2, 9), "dimension 0 of (6, 4) has no indices 2:9"),
    "an empty slice": ("matrix", ("slice", 0, 2, 2), "has no indices 2:2"),
    "an index outside": ("matrix", ("take", 0, 6), "has no index 6"),
    "a squeeze of more": ("matrix", ("squeeze", 0), "is not of size 1"),
    "no such dimension": ("matrix", ("transpose", 0, 5), "cannot be changed by 'transpose'"),
    "another size": ("matrix", ("reshape", 5, 5), "cannot be changed by 'reshape'"),
    "odd heads": ("heads", ("pairs_to_halves", 3), "an even number for each of 3 heads"),
    "no dtype": ("matrix", ("cast", "int77"), "torch has no dtype 'int77'"),
    "a shorter pad": ("matrix", ("pad", 0, 3, "zeros"), "is longer than 3: slice it"),
    "a mean of integers": ("whole", ("pad", 0, 5, "mean"), "has no mean"),
    "too much law": ("matrix", ("pad_drawn", {"law": "Normal"}, 3, 3), "does not fit into"),
    "channels of a matrix": ("matrix", ("adapt_channels", 1), "is not that of a convolution's weight"),
    "frames of a matrix": ("matrix", ("inflate", 3), "is not that of a 2-D convolution's weight"),
    "another grid": ("positions", ("resample_positions", 1, 0, 3, 3, 4, 4), "is not 0 + 3×3 positions"),
    "another window": ("table", ("resample_biases", 0, 3, 3, 5, 5), "is not that of a table of 3×3 + 0"),
    "patches of a matrix": ("matrix", ("resample_patches", 3, 3), "is not that of a patch embedding's kernel"),
    "two dtypes": ("matrix", ("concat", 0, ("whole", ())), "cannot be joined"),
    "no such law": ("matrix", ("pad_drawn", {"law": "Nothing"}, 7, 5), "unknown initializer 'Nothing'"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_done_is_said_with_and_without_values(case: str) -> None:
    key, change, text = IMPOSSIBLE[case]
    for inputs in (META, REAL):
        with pytest.raises(FaninError) as caught:
            changed(key, (change,), inputs, 1 << 22)
        assert text in str(caught.value)


HUGE = {
    "pad": ("matrix", ("pad", 0, 10**15, "zeros")),
    "tile": ("matrix", ("tile", 0, 10**15)),
    "take": ("matrix", ("take", 1, *(0,) * 5000)),
    "drawn": ("matrix", ("pad_drawn", Normal().to_dict(), 10**9, 10**9)),
    "channels": ("conv", ("adapt_channels", 10**14)),
    "frames": ("conv", ("inflate", 10**14)),
    "positions": ("positions", ("resample_positions", 1, 1, 3, 3, 10**8, 10**8)),
    "biases": ("table", ("resample_biases", 3, 3, 3, 10**8, 10**8)),
    "patches": ("conv", ("resample_patches", 10**8, 10**8)),
    "joined": ("matrix", ("concat", 0, *[("matrix", ())] * 2000)),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_hostile_plan_gets_no_memory(case: str) -> None:
    key, change = HUGE[case]
    with pytest.raises(PlanError, match="allowed"):
        changed(key, (change,), META, 20_000)
    if case != "joined":
        with pytest.raises(PlanError, match="allowed"):
            changed(key, (change,), REAL, 20_000)


MALFORMED = {
    "no tuple": ["transpose", 0, 1],
    "no op": ((),),
    "another op": (("exec", "x"),),
    "a number for an op": ((3,),),
    "too few": (("transpose", 0),),
    "too many": (("transpose", 0, 1, 2),),
    "a negative dimension": (("select", -1, 0),),
    "true for a number": (("select", True, 0),),
    "a size of nothing": (("tile", 0, 0),),
    "a text for a number": (("add", "1"),),
    "no number": (("scale", float("nan")),),
    "no factors": (("scale_along", 0),),
    "another fill": (("pad", 0, 3, "random"),),
    "half a grid": (("resample_positions", 0, 0, 3, 3, 4),),
    "an operand without changes": (("concat", 0, ("k",)),),
    "an operand of another op": (("concat", 0, ("k", (("exec", "x"),))),),
    "no law": (("pad_drawn", {"std": 1.0}, 3),),
    "very many": (("unsqueeze", 0),) * 65,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_changes_are_refused(case: str) -> None:
    with pytest.raises(FaninError):
        check_changes(MALFORMED[case])


def test_further_keys_are_named() -> None:
    nested = (("concat", 0, ("b", (("stack", 0, ("c", ())),))), ("add", 1.0))
    assert list(keys_in(nested)) == ["b", "c"]
