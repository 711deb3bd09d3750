"""Recipes for images through real networks: torch's own layers and transformers' models."""

from math import log, sqrt

import pytest
import torch
from torch import nn

from fanin.initializers import Constant, Normal
from fanin.torch.planning import initialize, plan

D = 32


class Bottleneck(nn.Module):
    """1×1, grouped 3×3 and 1×1 convolutions with batch norms; a projection where the size changes."""

    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        width = n_out // 2
        self.conv1, self.bn1 = nn.Conv2d(n_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=4, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, n_out, 1, bias=False), nn.BatchNorm2d(n_out)
        self.shortcut = None
        if n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def skip(self, x):
        return x if self.shortcut is None else self.shortcut(x)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Bottleneck(16, 16), Bottleneck(16, 16))
        self.layer2 = nn.Sequential(Bottleneck(16, 32, 2), Bottleneck(32, 32))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.bn(self.stem(x)))
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


def test_resnet_blocks_start_as_their_shortcut():
    model, images = ResNet(), torch.randn(2, 3, 8, 8)
    steps = initialize(model, "resnet", images)
    for block in (*model.layer1, *model.layer2):
        x = torch.randn(2, block.conv1.in_channels, 8, 8)
        assert torch.equal(block(x), torch.relu(block.skip(x)))
        assert not block.bn3.weight.any()
        assert (block.bn1.weight == 1).all()
        assert (block.bn2.weight == 1).all()
    assert (model.layer2[0].shortcut[1].weight == 1).all()
    assert (model.bn.weight == 1).all()
    # fan-out of a group: 16 channels in 4 groups, 3×3
    assert steps["layer2.0.conv2.weight"].std == pytest.approx(sqrt(2 / (4 * 9)))
    assert steps["layer1.0.conv3.weight"].std == pytest.approx(sqrt(2 / 16))
    assert steps["fc.weight"].initializer.high == pytest.approx(1 / sqrt(32))
    assert steps["fc.bias"].initializer.high == pytest.approx(1 / sqrt(32))


class Vit(nn.Module):
    """Packed attention of torch, pre-norm."""

    def __init__(self, layers=2):
        super().__init__()
        self.patches = nn.Conv2d(3, D, 4, 4)
        self.cls = nn.Parameter(torch.zeros(1, 1, D))
        self.positions = nn.Parameter(torch.zeros(1, 5, D))
        layer = nn.TransformerEncoderLayer(D, 4, 4 * D, 0.0, nn.functional.gelu, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(D), enable_nested_tensor=False)
        self.head = nn.Linear(D, 10)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.blocks(x)[:, 0])


IMAGES = torch.randn(2, 3, 8, 8)


@pytest.mark.parametrize("mode", ["jax", "jax_nlhb"])
def test_vit_of_flax(mode):
    model = Vit()
    steps = initialize(model, f"vit,mode={mode}", IMAGES)
    prior = -log(10) if mode == "jax_nlhb" else 0.0
    assert torch.allclose(model(IMAGES), torch.tensor(prior))
    # blocks of the packed matrix by their own fans: torch's [3d, d] would give 0.707 of it
    assert steps["blocks.layers.0.self_attn.in_proj_weight"].std == pytest.approx(sqrt(1 / D))
    assert steps["blocks.layers.1.linear1.weight"].std == pytest.approx(sqrt(2 / (5 * D)))
    assert steps["blocks.layers.1.linear1.bias"].std == 1e-6
    assert steps["blocks.layers.1.self_attn.out_proj.bias"].std == 0
    assert steps["patches.weight"].std == pytest.approx(1 / sqrt(48))
    assert steps["patches.bias"].std == 0


def test_vit_of_moco_and_timm():
    moco, timm = (plan(Vit(), f"vit,mode={mode}", IMAGES) for mode in ("moco", "timm"))
    for layer in (0, 1):
        for name in ("self_attn.in_proj_weight", "self_attn.out_proj.weight"):
            assert moco[f"blocks.layers.{layer}.{name}"].initializer.high == pytest.approx(sqrt(6 / (2 * D)))
            assert timm[f"blocks.layers.{layer}.{name}"].initializer == Normal(std=0.02)
    assert moco["head.weight"].initializer.high == pytest.approx(sqrt(6 / (D + 10)))
    assert timm["head.weight"].initializer == Normal(std=0.02)
    for steps in (moco, timm):
        assert steps["patches.weight"].initializer.high == pytest.approx(1 / sqrt(48))
        assert steps["patches.bias"].initializer.high == pytest.approx(1 / sqrt(48))
        assert steps["cls"].std == 1e-6
        assert steps["positions"].std == 0.02


def test_vit_rescaled_by_layer():
    steps = plan(Vit(3), "vit,rescale=true", IMAGES)
    for layer in range(3):
        deep = 0.02 / sqrt(2 * (layer + 1))
        assert steps[f"blocks.layers.{layer}.self_attn.out_proj.weight"].std == pytest.approx(deep)
        assert steps[f"blocks.layers.{layer}.linear2.weight"].std == pytest.approx(deep)
        assert steps[f"blocks.layers.{layer}.linear1.weight"].std == 0.02
        assert steps[f"blocks.layers.{layer}.self_attn.in_proj_weight"].std == 0.02


def _classifier(config, **options):
    import transformers

    made = getattr(transformers, config)(**options)
    return lambda: transformers.AutoModelForImageClassification.from_config(made)


def roles(steps, role):
    return [step for step in steps.values() if step.role == role]


def test_vit_of_transformers():
    steps = plan(_classifier("ViTConfig", num_hidden_layers=2, num_labels=1000), "vit,mode=jax_nlhb")
    assert steps["classifier.weight"].initializer == Constant(0.0)
    patches = steps["vit.embeddings.patch_embeddings.projection.bias"]
    assert patches.initializer == Constant(0.0)
    assert steps["classifier.bias"].initializer == Constant(-log(1000))
    assert len(roles(steps, "attention query")) == 2
    assert [step.std for step in roles(steps, "attention query")] == pytest.approx([sqrt(1 / 768)] * 2)
    assert {step.initializer for step in roles(steps, "position")} == {Normal(std=0.02)}


def test_resnet_of_transformers():
    steps = plan(_classifier("ResNetConfig", depths=[2, 1, 1, 1]), "resnet")
    scales = [step.initializer.value for step in roles(steps, "norm scale")]
    assert scales.count(0.0) == 5
    assert set(scales) == {0.0, 1.0}
    for step in roles(steps, "convolution"):
        assert step.std == pytest.approx(sqrt(2 / step.axes.fan_out))


def test_efficientnet_of_transformers():
    steps = plan(
        _classifier("EfficientNetConfig", width_coefficient=0.5, depth_coefficient=0.3, hidden_dim=640), "efficientnet"
    )
    depthwise = [step for name, step in steps.items() if name.endswith("depthwise_conv.weight")]
    kernels = {step.shape[-1]: step.std for step in depthwise}
    assert kernels == {3: pytest.approx(sqrt(2 / 9)), 5: pytest.approx(sqrt(2 / 25))}
    assert steps["classifier.weight"].initializer.high == pytest.approx(1 / sqrt(steps["classifier.weight"].shape[0]))


def test_convnext_of_transformers():
    steps = plan(_classifier("ConvNextConfig", depths=[1, 1, 2, 1]), "convnext")
    gates = roles(steps, "layer scale")
    assert len(gates) == 5
    assert {step.initializer for step in gates} == {Constant(1e-6)}
    weights = [step for step in steps.values() if step.axes is not None]
    assert len(weights) == 1 + 3 + 3 * 5 + 1
    assert {step.initializer for step in weights} == {Normal(std=0.02)}
