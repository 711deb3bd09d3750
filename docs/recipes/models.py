"""Small models that the reference numbers of recipes are given for, where transformers has none of the kind.

Each function without arguments is a model for the command: `fanin plan docs/recipes/models.py:dit --recipe dit`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def lstm() -> nn.Module:
    """One layer, 24 inputs, 40 units."""
    return nn.LSTM(24, 40)


def gru() -> nn.Module:
    """One layer, 24 inputs, 40 units."""
    return nn.GRU(24, 40)


def relu_rnn() -> nn.Module:
    """One layer of rectified units, 24 inputs, 40 units."""
    return nn.RNN(24, 40, nonlinearity="relu")


class Sine(nn.Module):
    """sin(ω·(Wx + b))."""

    def __init__(self, n_in: int, n_out: int, omega: float = 30.0) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.omega = omega

    def before(self, x: Tensor) -> Tensor:
        return self.omega * self.linear(x)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.before(x))


def siren(width: int = 64, layers: int = 3, omega: float = 30.0) -> nn.Sequential:
    """Two coordinates, three layers of 64 sines, one output."""
    hidden = [Sine(width, width, omega) for _ in range(layers - 1)]
    return nn.Sequential(Sine(2, width, omega), *hidden, nn.Linear(width, 1))


def dcgan() -> nn.Module:
    """A generator of 8×8 images from 16 numbers."""
    return nn.Sequential(
        nn.ConvTranspose2d(16, 32, 4, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


class FixupBlock(nn.Module):
    """Two convolutions with scalar biases before convolutions and nonlinearities, and one factor."""

    def __init__(self, n_in: int, n_out: int, stride: int = 1) -> None:
        super().__init__()
        self.bias1a, self.bias1b, self.bias2a, self.bias2b = (nn.Parameter(torch.randn(1)) for _ in range(4))
        self.scale = nn.Parameter(torch.randn(1))
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.shortcut = None if n_in == n_out else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def skip(self, x: Tensor) -> Tensor:
        return x if self.shortcut is None else self.shortcut(x + self.bias1a)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.conv1(x + self.bias1a) + self.bias1b)
        y = self.conv2(y + self.bias2a) * self.scale + self.bias2b
        return torch.relu(y + self.skip(x))


class FixupNet(nn.Module):
    """Five blocks of 8 and 16 channels, 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 1, 1, bias=False)
        self.layer1 = nn.Sequential(FixupBlock(8, 8), FixupBlock(8, 8))
        self.layer2 = nn.Sequential(FixupBlock(8, 16, 2), FixupBlock(16, 16), FixupBlock(16, 16))
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layer2(self.layer1(torch.relu(self.stem(x)))).mean((2, 3)))


def fixup() -> FixupNet:
    """A residual network without normalisation."""
    return FixupNet()


class GatedBlock(nn.Module):
    """x + gate · MLP(norm(x))."""

    def __init__(self, width: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gate = nn.Parameter(torch.rand(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate * self.fc2(F.gelu(self.fc1(self.norm(x))))


class Gated(nn.Module):
    """Residual blocks whose branches are multiplied by a parameter; a second, short stack sees one token alone."""

    def __init__(self, layers: int, shape: tuple[int, ...], token_layers: int = 0) -> None:
        super().__init__()
        self.embed = nn.Linear(32, 32)
        self.blocks = nn.ModuleList(GatedBlock(32, shape) for _ in range(layers))
        self.blocks_token_only = nn.ModuleList(GatedBlock(32, shape) for _ in range(token_layers))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        if not len(self.blocks_token_only):
            return x
        token = x[:, :1]
        for block in self.blocks_token_only:
            token = block(token)
        return token

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        return {"x": torch.zeros(2, 5, 32)}


def layer_scale() -> Gated:
    """24 blocks with a factor per channel and 2 of the class token alone, as CaiT."""
    return Gated(24, (32,), token_layers=2)


def rezero() -> Gated:
    """3 blocks with one factor each."""
    return Gated(3, (1,))


class Attention(nn.Module):
    """Self-attention with packed queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.proj, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class DiTBlock(nn.Module):
    """Attention and MLP whose norms are shifted and scaled, and whose outputs are gated, by the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attn = Attention(width, 4)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c).chunk(6, 1)
        x = x + gate1.unsqueeze(1) * self.attn(modulated(self.norm1(x), shift1, scale1))
        return x + gate2.unsqueeze(1) * self.mlp(modulated(self.norm2(x), shift2, scale2))


class DiT(nn.Module):
    """Two blocks of width 32 over 2×2 patches of 4 channels; conditions are a time and a label."""

    def __init__(self, width: int = 32, layers: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(4, width, 2, 2)
        self.time = nn.Sequential(nn.Linear(16, width), nn.SiLU(), nn.Linear(width, width))
        self.labels = nn.Embedding(11, width)
        self.blocks = nn.ModuleList(DiTBlock(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.final = nn.Linear(width, 16)

    def forward(self, images: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        angles = times[:, None] * torch.arange(8.0, device=times.device)
        c = self.time(torch.cat([angles.sin(), angles.cos()], 1)) + self.labels(labels)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.modulation(c).chunk(2, 1)
        return self.final(modulated(self.norm(x), shift, scale))

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        return {"images": torch.zeros(2, 4, 8, 8), "times": torch.zeros(2), "labels": torch.zeros(2, dtype=torch.long)}


def dit() -> DiT:
    """A diffusion transformer."""
    return DiT()
