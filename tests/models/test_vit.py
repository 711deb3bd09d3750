"""Vision transformers: published sizes, outputs of another implementation, options, errors."""

import re

import pytest
import torch
from torch import nn

import fanin
from fanin import ArgumentError, UnknownNameError
from fanin.models import build, example_inputs, factory, vit

SMALL = {"depth": 2, "width": 16, "heads": 2, "shape": (1, 8, 8), "classes": 3}
NAMES = {
    r"^patches\.proj": "vit.embeddings.patch_embeddings.projection",
    r"^class_token\.token": "vit.embeddings.cls_token",
    r"^positions\.table\.weight": "vit.embeddings.position_embeddings",
    r"^blocks": "vit.layers",
    r"\.(query|key|value|output)\.": lambda found: f".{found[1][0]}_proj.",
    r"attention_norm": "layernorm_before",
    r"feedforward_norm": "layernorm_after",
    r"feedforward\.up": "mlp.fc1",
    r"feedforward\.down": "mlp.fc2",
    r"^norm": "vit.layernorm",
    r"^head": "classifier",
}


# timm's counts of vit_tiny, vit_small and vit_base_patch16_224.
@pytest.mark.parametrize(("name", "count"), [("vit-ti", 5_717_416), ("vit-s", 22_050_664), ("vit-b", 86_567_656)])
def test_counts_are_the_published(name, count):
    with torch.device("meta"):
        assert sum(each.numel() for each in build(name).parameters()) == count


@pytest.mark.parametrize(("name", "heads"), [("vit-ti", 3), ("vit-s", 6), ("vit-b", 12)])
def test_heads_are_64_wide(name, heads):
    with torch.device("meta"):
        attention = build(name).blocks[0].attention
    assert attention.heads == heads == attention.query.out_features // 64


def test_macs():
    spec = "vit:depth=3,width=32,heads=4,shape=3x16x16,patch=4,classes=5"
    tokens, width = 17, 32
    block = 12 * tokens * width**2 + 2 * tokens**2 * width
    expected = 16 * (3 * 4 * 4) * width + 3 * block + width * 5
    assert fanin.count(fanin.capture(factory(spec)), example_inputs(spec)).macs == expected


def test_outputs_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=3,
        layer_norm_eps=1e-5,
    )
    theirs, ours = transformers.ViTForImageClassification(config).eval(), vit(**SMALL).eval()
    for each in theirs.parameters():
        nn.init.normal_(each, 0.05, 0.3)

    def from_ours(name):
        for ours, their in NAMES.items():
            name = re.sub(ours, their, name)
        return name

    state = theirs.state_dict()
    ours.load_state_dict({name: state[from_ours(name)].reshape(each.shape) for name, each in ours.state_dict().items()})
    images = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images).logits)


def test_average_reads_every_token_and_has_no_class_token():
    model = vit(**SMALL, reads="average").eval()
    assert model.positions.table.weight.shape == (4, 16)
    assert not [name for name, _ in model.named_parameters() if "class_token" in name]
    tokens = torch.randn(2, 4, 16)
    torch.testing.assert_close(model.pooled(tokens), tokens.mean(1))


def test_class_reads_the_first_token():
    tokens = torch.randn(2, 5, 16)
    assert torch.equal(vit(**SMALL).pooled(tokens), tokens[:, 0])
    assert torch.equal(vit(**SMALL).class_token(tokens)[:, 1:], tokens)


def test_patches_go_row_by_row():
    """The token of a patch sees that patch alone, and patches of one row follow each other."""
    model, images = vit(**SMALL | {"shape": (1, 8, 12)}), torch.zeros(1, 1, 8, 12)
    images[..., 0:4, 8:12] = 1
    changed = (model.patches(images) - model.patches(torch.zeros_like(images))).abs().sum(-1)
    assert changed.nonzero()[:, 1].tolist() == [2]


@pytest.mark.parametrize(
    ("shape", "side"), [((3, 224, 224), 16), ((3, 64, 64), 16), ((3, 32, 32), 4), ((1, 28, 28), 7), ((1, 8, 8), 4)]
)
def test_the_patch_goes_by_the_image(shape, side):
    assert vit(1, shape=shape, width=8, heads=2).patches.proj.kernel_size == (side, side)


def test_options():
    model = vit(**SMALL, patch=2, hidden=24, activation="relu", norm="rms", bias=False, dropout=0.25)
    assert model.patches.proj.kernel_size == (2, 2)
    assert model.blocks[1].feedforward.up.weight.shape == (24, 16)
    assert type(model.blocks[0].feedforward.activation) is nn.ReLU
    assert type(model.norm) is nn.RMSNorm
    assert model.blocks[0].dropout.p == 0.25
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert model(torch.randn(3, 64)).shape == (3, 3)
    assert not [name for name, _ in vit(**SMALL, norm=None).named_modules() if isinstance(_, nn.LayerNorm)]
    assert hasattr(vit(**SMALL, activation="swiglu").blocks[0].feedforward, "gate")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "vit: depth must be a positive integer, got 0"),
        ({"heads": 0}, "vit: heads must be a positive integer, got 0"),
        ({"patch": 0}, "vit: patch must be a positive integer, got 0"),
        ({"width": 10, "heads": 4}, "attention: 4 heads do not divide the width 10"),
        ({"patch": 5}, "vit: patches of side 5 do not tile an image of 224×224: give patch a side that divides both"),
        ({"shape": (1, 8, 10)}, "vit: patches of side 4 do not tile an image of 8×10: give patch a side that divides "
         "both"),
        ({"reads": "last"}, "vit: reads is class or average, got 'last'"),
        ({"dropout": -0.1}, "vit: dropout must be at least 0 and below 1, got -0.1"),
    ],
)  # fmt: skip
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError) as caught:
        vit(**options)
    assert str(caught.value) == message


def test_batch_norm_is_not_for_tokens():
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'batch'\. Known: layer, rms\."):
        vit(**SMALL, norm="batch")
