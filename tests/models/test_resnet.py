"""Residual networks: published sizes, names and outputs, structure, Fixup, options, errors."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fanin
from fanin import ArgumentError, UnknownNameError
from fanin.models import build, example_inputs, factory, resnet

# torchvision's counts; CIFAR's: 3×3 convolutions, two numbers for each channel's norm, 64·10 + 10 for the classifier.
PUBLISHED = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def parameters(spec):
    with torch.device("meta"):
        return sum(each.numel() for each in build(spec).parameters())


def cifar(n):
    """Of 6n + 2 layers, counted by hand."""
    stem = 9 * 3 * 16 + 2 * 16
    stages = sum(2 * n * (9 * width**2 + 2 * width) for width in (16, 32, 64))
    narrower = sum(9 * width * width // 2 for width in (32, 64))  # the first convolution reads half the channels
    return stem + stages - narrower + 64 * 10 + 10


@pytest.mark.parametrize(("depth", "count"), PUBLISHED.items())
def test_imagenet_counts_are_the_published(depth, count):
    assert parameters(f"resnet{depth}") == parameters(f"resnet:depth={depth},shape=3x224x224,classes=1000") == count


@pytest.mark.parametrize(("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.73")])
def test_cifar_counts_are_the_published(depth, millions):
    count = parameters(f"resnet{depth}")
    assert count == cifar((depth - 2) // 6)
    assert f"{count / 1e6:.2f}" == millions


@pytest.mark.parametrize(
    ("spec", "macs"),
    [
        ("resnet:depth=18,shape=3x224x224,classes=1000", 1_814_073_344),
        ("resnet50", 4_089_184_256),
        # 3→16 at 32²; 3 stages of 6 convolutions, each of 9·16²·32² but the two that read half the channels; 64→10
        ("resnet20", 9 * 3 * 16 * 1024 + 9 * 16**2 * 1024 * 17 + 640),
    ],
)
def test_macs(spec, macs):
    assert fanin.count(fanin.capture(factory(spec)), example_inputs(spec)).macs == macs


def published_names(counts, convolutions):
    """The stored tensors of torchvision's code in order, written down from its state dicts."""

    def convolution(conv, norm):
        return [f"{conv}.weight", *(f"{norm}.{each}" for each in NORM)]

    names = convolution("conv1", "bn1")
    for stage, count in enumerate(counts, start=1):
        for block in range(count):
            at = f"layer{stage}.{block}"
            for index in range(1, convolutions + 1):
                names += convolution(f"{at}.conv{index}", f"{at}.bn{index}")
            if block == 0 and (stage > 1 or convolutions == 3):
                names += convolution(f"{at}.downsample.0", f"{at}.downsample.1")
    return [*names, "fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("depth", "counts", "convolutions"),
    [(18, (2, 2, 2, 2), 2), (34, (3, 4, 6, 3), 2), (50, (3, 4, 6, 3), 3), (101, (3, 4, 23, 3), 3)],
)
def test_names_are_those_of_published_weights(depth, counts, convolutions):
    with torch.device("meta"):
        assert list(build(f"resnet{depth}").state_dict()) == published_names(counts, convolutions)


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_outputs_are_those_of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    expansion = 4 if kind == "bottleneck" else 1
    config = transformers.ResNetConfig(
        hidden_sizes=[64 * expansion, 128 * expansion, 256 * expansion, 512 * expansion],
        depths=[3, 4, 6, 3],
        layer_type=kind,
        num_labels=10,
    )
    theirs = transformers.ResNetForImageClassification(config).eval()
    ours = resnet(50 if kind == "bottleneck" else 34, shape=(3, 64, 64), classes=10).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.weight, 0.5, 1.0)

    def from_their(name):
        name = re.sub(r"^resnet.embedder.embedder.convolution", "conv1", name)
        name = re.sub(r"^resnet.embedder.embedder.normalization", "bn1", name)
        name = re.sub(r"^classifier.1", "fc", name)
        name = re.sub(r"shortcut.convolution", "downsample.0", name)
        name = re.sub(r"shortcut.normalization", "downsample.1", name)
        name = re.sub(r"stages.(\d)", lambda found: f"layer{int(found[1]) + 1}", name).removeprefix("resnet.encoder.")
        name = re.sub(r"\.layer\.(\d)\.convolution", lambda found: f".conv{int(found[1]) + 1}", name)
        name = re.sub(r"\.layer\.(\d)\.normalization", lambda found: f".bn{int(found[1]) + 1}", name)
        return name.replace(".layers.", ".")

    ours.load_state_dict({from_their(name): each for name, each in theirs.state_dict().items()})
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(images).logits
        torch.testing.assert_close(ours(images), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_basic_block_of_cifar_pads_its_shortcut():
    torch.manual_seed(0)
    block = resnet(20, activation="tanh").eval().layer2[0]
    x = torch.randn(2, 16, 9, 9)
    hidden = torch.tanh(block.bn1(F.conv2d(x, block.conv1.weight, stride=2, padding=1)))
    branch = block.bn2(F.conv2d(hidden, block.conv2.weight, padding=1))
    kept = F.avg_pool2d(x, 1, 2)
    expected = torch.tanh(branch + torch.cat((kept, torch.zeros_like(kept)), 1))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(("shortcut", "wider"), [("pad", 1), ("projection", 2)])
def test_a_basic_block_with_fixup(shortcut, wider):
    """Figure 1 of the paper, and its code for CIFAR (padded) and ImageNet (projected)."""
    torch.manual_seed(0)
    block = resnet(20, norm=None, fixup=True, shortcut=shortcut).layer2[0]
    for each in block.parameters():
        nn.init.normal_(each, 0.3, 0.5)
    x = torch.randn(2, 16, 6, 6)
    shifted = x + block.bias1a.bias
    hidden = F.relu(F.conv2d(shifted, block.conv1.weight, None, 2, 1) + block.bias1b.bias) + block.bias2a.bias
    branch = F.conv2d(hidden, block.conv2.weight, None, 1, 1) * block.scale.scale + block.bias.bias
    around = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 16))
    if shortcut == "projection":
        around = F.conv2d(shifted, block.downsample[0].weight, None, 2)
    torch.testing.assert_close(block(x), F.relu(branch + around))


def test_fixup_starts_as_the_stem_and_zero_logits():
    model, images = resnet(20, norm=None, fixup=True), torch.randn(3, 3, 32, 32)
    fanin.initialize(model, "fixup", images)
    assert torch.equal(model(images), torch.zeros(3, 10))
    assert torch.equal(
        model.layer1(model.act(images[:, :1].expand(3, 16, 32, 32))), images[:, :1].expand(3, 16, 32, 32).relu()
    )
    scalars = [name for name, each in model.named_parameters() if each.numel() == 1]
    assert len(scalars) == 9 * 5 + 2  # four biases and a scale in each block, a bias in the stem, one before fc


def kinds(model):
    return {type(module) for module in model.modules()}


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d), ("layer", nn.GroupNorm)]
)
def test_norms(norm, kind):
    model = resnet(20, norm=norm, block="basic", shortcut="projection")
    assert sum(type(module) is kind for module in model.modules()) == 1 + 18 + 2
    assert not any(name.endswith("bias") for name, _ in model.named_parameters() if "conv" in name)


def test_without_norm_convolutions_have_biases():
    model = resnet(20, norm=None)
    assert not kinds(model) & {nn.BatchNorm2d, nn.Identity}
    assert all(module.bias is not None for module in model.modules() if isinstance(module, nn.Conv2d))
    assert all(
        module.bias is None for module in resnet(20, norm=None, bias=False).modules() if isinstance(module, nn.Conv2d)
    )
    assert resnet(20, bias=True).conv1.bias is not None


def test_options():
    model = resnet(20, shape=(1, 28, 28), classes=7, width=8, activation="silu", dropout=0.25)
    assert model.conv1.weight.shape == (8, 1, 3, 3)
    assert model.layer3[0].conv1.weight.shape == (32, 16, 3, 3)
    assert model.fc.weight.shape == (7, 32)
    assert model.drop.p == 0.25
    assert nn.ReLU not in kinds(model)
    assert sum(type(module) is nn.SiLU for module in model.modules()) == 19
    assert model.eval()(torch.randn(2, 784)).shape == (2, 7)


def test_prelu_is_shared_by_no_two_layers():
    assert sum(each.numel() for name, each in resnet(20, activation=nn.PReLU).named_parameters() if "act" in name) == 19


@pytest.mark.parametrize(("side", "kernel"), [(32, 3), (63, 3), (64, 7), (224, 7)])
def test_the_stem_goes_by_the_image(side, kernel):
    model = resnet(18, shape=(3, side, side), classes=10)
    assert model.conv1.kernel_size == (kernel, kernel)
    assert hasattr(model, "maxpool") == (kernel == 7)


def test_stem_can_be_said():
    assert resnet(18, shape=(3, 224, 224), stem="small").conv1.stride == (1, 1)
    assert resnet(20, stem="large").conv1.stride == (2, 2)


@pytest.mark.parametrize(
    ("options", "blocks", "convolutions"),
    [
        ({"depth": 50}, [3, 4, 6, 3], 3),
        ({"depth": 50, "stages": 3}, [8, 8, 8], 2),
        ({"depth": 29}, [3, 3, 3], 3),
        ({"depth": 20, "block": "bottleneck"}, [2, 2, 2], 3),
        ({"depth": 164, "block": "bottleneck"}, [18, 18, 18], 3),
        ({"depth": 8}, [1, 1, 1], 2),
    ],
)
def test_depth_says_blocks(options, blocks, convolutions):
    with torch.device("meta"):
        model = resnet(**options)
    stages = [module for name, module in model.named_children() if name.startswith("layer")]
    assert [len(stage) for stage in stages] == blocks
    branch = [module for name, module in stages[0][0].named_children() if name.startswith("conv")]
    assert len(branch) == convolutions
    layers = sum(isinstance(module, nn.Conv2d) for name, module in model.named_modules() if "downsample" not in name)
    assert layers + 1 == options["depth"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 21}, "resnet: there is none of depth 21: with basic blocks depths are 6n + 2 (20, 32, 44, 56, 110), "
         "with bottlenecks 9n + 2 (29, 47, 164), and with four stages 18, 34, 50, 101, 152"),
        ({"depth": 20, "stages": 4}, "resnet: there is none of depth 20, stages 4: with"),
        ({"depth": 2}, "resnet: there is none of depth 2: with"),
        ({"depth": 18, "block": "bottleneck"}, "resnet: there is none of depth 18, block bottleneck: with"),
        ({"depth": 0}, "resnet: depth must be a positive integer, got 0"),
        ({"width": -1}, "resnet: width must be a positive integer, got -1"),
        ({"width": 0}, "resnet: width must be a positive integer, got 0"),
        ({"classes": 0}, "resnet: classes must be a positive integer, got 0"),
        ({"shape": (28, 28)}, "resnet shape must be at least 3 positive integers, got (28, 28)"),
        ({"shape": ()}, "resnet shape must be at least 3 positive integers, got ()"),
        ({"fixup": True}, "resnet: Fixup stands in place of normalisation, so it needs norm None (norm=none)"),
        ({"stages": 5}, "resnet: stages is 3 or 4, got 5"),
        ({"stem": "tiny"}, "resnet: stem is small or large, got 'tiny'"),
        ({"shortcut": "none"}, "resnet: shortcut is projection or pad, got 'none'"),
        ({"block": "wide"}, "resnet: block is basic or bottleneck, got 'wide'"),
        ({"dropout": 1.0}, "resnet: dropout must be at least 0 and below 1, got 1.0"),
    ],
)  # fmt: skip
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError) as caught:
        resnet(**options)
    assert str(caught.value).startswith(message)


def test_unknown_norm_and_activation():
    with pytest.raises(UnknownNameError, match="unknown normalisation 'bach'"):
        resnet(norm="bach")
    with pytest.raises(UnknownNameError, match="unknown activation 'rellu'"):
        resnet(activation="rellu")
