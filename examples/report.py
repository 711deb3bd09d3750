"""A report to look at: a network whose weights are far too small, and the same network mended.

Writes before.html and report.html, which shows what the mending changed, into the current folder.
"""

import torch
from torch import nn

import fanin


class Block(nn.Module):
    """x + down(relu(up(norm(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.act, self.down = nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.act(self.up(self.norm(x))))


class Net(nn.Module):
    """Four residual blocks, then six plain layers: what vanishes in the plain ones goes around the others."""

    def __init__(self, width: int = 64, classes: int = 10) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(width) for _ in range(4)])
        self.tail = nn.Sequential(*[part for _ in range(6) for part in (nn.Linear(width, width), nn.ReLU())])
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.tail(self.blocks(x)))


generator = torch.Generator().manual_seed(0)
inputs, labels = torch.randn(128, 64, generator=generator), torch.randint(10, (128,), generator=generator)
model = Net()

small = fanin.initialize(model, "gpt2", inputs)  # N(0, 0.02²) suits a pre-norm transformer, not the plain layers here
before = fanin.check(model, inputs, labels, plan=small)
before.to_html("before.html")

mended = fanin.initialize(model, "he", inputs)
after = fanin.check(model, inputs, labels, plan=mended)
after.to_html("report.html", before=before)

print(before.summary())
print(after.summary())
