"""Plan a model of your own: every parameter with its initializer and the reason, changed by hand, drawn, saved."""

from torch import nn

import fanin
from fanin.initializers import Normal


class Autoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 256), nn.GELU(), nn.Linear(256, 32))
        self.decoder = nn.Sequential(nn.Linear(32, 256), nn.GELU(), nn.Linear(256, 784))

    def forward(self, x):
        return self.decoder(self.encoder(x))


captured = fanin.capture(Autoencoder)  # runs the constructor without allocating anything
plan = fanin.plan(captured, recipe="he")
plan = plan.override({"decoder.2.weight": Normal(std=0.001)}, why="start close to the mean image")

for step in plan.steps:
    print(f"{step.name:18} std {step.std:.4f}  {step.why}")

model = fanin.materialize(captured.model, plan, seed=0)
fanin.save(model, "autoencoder.safetensors", plan, seed=0)
print("plan", plan.hash)
