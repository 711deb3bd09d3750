"""Built-in architectures, and every way to name a model: `build("mlp:784-500-10")`, `factory("hf:gpt2")`."""

from fanin.models.architecture import describe
from fanin.models.autoencoder import autoencoder
from fanin.models.catalogue import build, factory, names
from fanin.models.cnn import cnn
from fanin.models.dcgan import dcgan
from fanin.models.families import FAMILIES, SHORTHANDS, Family
from fanin.models.forecaster import forecaster
from fanin.models.inputs import example_inputs
from fanin.models.mlp import mlp
from fanin.models.mnist import mnist_cnn, mnist_fc
from fanin.models.options import Option
from fanin.models.presets import presets, with_preset
from fanin.models.python_objects import python_function
from fanin.models.recurrent import gru, lstm, rnn
from fanin.models.resnet import resnet
from fanin.models.seq2seq import seq2seq
from fanin.models.siren import siren
from fanin.models.transformer import transformer
from fanin.models.vit import vit

__all__ = [
    "FAMILIES",
    "SHORTHANDS",
    "Family",
    "Option",
    "autoencoder",
    "build",
    "cnn",
    "dcgan",
    "describe",
    "example_inputs",
    "factory",
    "forecaster",
    "gru",
    "lstm",
    "mlp",
    "mnist_cnn",
    "mnist_fc",
    "names",
    "presets",
    "python_function",
    "resnet",
    "rnn",
    "seq2seq",
    "siren",
    "transformer",
    "vit",
    "with_preset",
]
