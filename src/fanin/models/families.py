"""The families of built-in models: the name that a spec says, the function that builds it, a word on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.options import Option, options_of
from fanin.models.published_decoders import PUBLISHED_DECODERS


def _widths(text: str) -> dict[str, str]:
    return {"widths": text}


def _image_channels_classes(text: str) -> dict[str, str]:
    shape, _, rest = text.partition("-")
    channels, _, classes = rest.rpartition("-")
    given = {"shape": shape, "channels": channels, "classes": classes}
    return {name: value for name, value in given.items() if value or name == "shape"}


@dataclass(frozen=True, slots=True)
class Family:
    """Models of one kind, built by the function `name` of `fanin.models.<file>` from keyword arguments with defaults.

    Attributes:
        name: as in the spec `resnet:depth=20`.
        file: the module of `fanin.models` that has the builder; imported when it is asked for.
        summary: one line.
        example: a spec.
        positional: what a text without "=" after the colon says, as options; None where there is none.

    >>> FAMILIES["siren"].builder(2, width=64).fc1
    Linear(in_features=2, out_features=64, bias=True)
    """

    name: str
    file: str
    summary: str
    example: str
    positional: Callable[[str], dict[str, str]] | None = None

    @property
    def builder(self) -> Callable[..., nn.Module]:
        """The function that builds a model of the family."""
        return getattr(import_module(f"fanin.models.{self.file}"), self.name)

    @property
    def options(self) -> tuple[Option, ...]:
        """The keyword arguments of the builder.

        >>> FAMILIES["mlp"].options[0].name
        'widths'
        """
        return options_of(self.builder)

    def positionals(self, spec: str, text: str) -> dict[str, str]:
        """The options that `text`, which stands first in the spec, gives without their names.

        Raises:
            ArgumentError: the family has none.
        """
        if self.positional is None:
            own = f"; a function of your own file is named {self.name}.py:{text}" if text.isidentifier() else ""
            raise ArgumentError(
                f"model {spec!r}: {self.name} takes options written key=value, as {self.example}, got {text!r}{own}"
            )
        return self.positional(text)


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family("mlp", "mlp", "Fully connected network of any widths.", "mlp:784-500-10", _widths),
        Family("cnn", "cnn", "Plain convolutional classifier.", "cnn:1x28x28-8-16-10", _image_channels_classes),
        Family("resnet", "resnet", "Residual network of CIFAR's or ImageNet's shapes.", "resnet:depth=20,norm=none"),
        Family("vit", "vit", "Vision transformer.", "vit:width=64,heads=4,shape=3x32x32"),
        Family("autoencoder", "autoencoder", "Dense or convolutional autoencoder.", "autoencoder:widths=128-32"),
        Family("dcgan", "dcgan", "Convolutional generator and discriminator.", "dcgan:shape=1x28x28,width=32"),
        Family("siren", "siren", "Sines of coordinates: one picture or field.", "siren:width=64,omega=30"),
        Family("rnn", "recurrent", "Recurrent classifier, tagger or language model.", "rnn:width=128"),
        Family("lstm", "recurrent", "The same of LSTM layers.", "lstm:inputs=64,width=128,depth=2"),
        Family("gru", "recurrent", "The same of GRU layers.", "gru:bidirectional=true"),
        Family("seq2seq", "seq2seq", "Recurrent encoder and decoder.", "seq2seq:width=64"),
        Family("transformer", "transformer", "Decoder-only language model.", "transformer:depth=2,width=64,heads=4"),
        Family("forecaster", "forecaster", "Time series, from the past to the horizon.", "forecaster:lookback=24"),
    )
}

SHORTHANDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "mnist-fc": ("mlp", {"widths": (784, 500, 10)}),
    "mnist-cnn": ("cnn", {"shape": (1, 28, 28), "channels": (8, 16), "classes": 10}),
    **{f"resnet{depth}": ("resnet", {"depth": depth}) for depth in (18, 34, 50, 101, 152, 20, 32, 44, 56, 110)},
    "vit-ti": ("vit", {"width": 192, "heads": 3}),
    "vit-s": ("vit", {"width": 384, "heads": 6}),
    "vit-b": ("vit", {"width": 768, "heads": 12}),
    **{name: ("transformer", sizes) for name, sizes in PUBLISHED_DECODERS.items()},
}
"""Models with a name of their own: the family, and the options that the name stands for; a spec may change them."""
