"""The recipes that have a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fanin.errors import ArgumentError, UnknownNameError
from fanin.recipes.authors import GGML_MNIST, NATIVE
from fanin.recipes.auto import AUTO
from fanin.recipes.bert import bert, modernbert
from fanin.recipes.clip import CLIP
from fanin.recipes.convolutional import CONVNEXT, EFFICIENTNET, RESNET
from fanin.recipes.critical import critical
from fanin.recipes.deep_transformers import DEEPNORM, SUBLN
from fanin.recipes.generative import DCGAN, DIT
from fanin.recipes.gpt import gpt2, megatron
from fanin.recipes.layer_scale import REZERO, SKIPINIT, layerscale
from fanin.recipes.llama import llama, llama_depth
from fanin.recipes.mamba import mamba, mamba2
from fanin.recipes.normalization_free import FIXUP, T_FIXUP
from fanin.recipes.olmo import olmo_megatron, olmo_mitchell, olmo_normal
from fanin.recipes.options import Option, options_of, read_options
from fanin.recipes.orthogonal import ORTHOGONAL
from fanin.recipes.recipe import Recipe
from fanin.recipes.recurrent import LSTM, chrono, irnn
from fanin.recipes.rwkv import RWKV
from fanin.recipes.sine import siren
from fanin.recipes.small_init import SMALL_INIT, WANG
from fanin.recipes.t5 import T5
from fanin.recipes.variance import HE, LECUN, XAVIER
from fanin.recipes.vision_transformer import vit
from fanin.recipes.whisper import whisper

# A recipe, or a function of options that makes one; every option has a default.
_RECIPES: dict[str, Recipe | Callable[..., Recipe]] = {
    "native": NATIVE,
    "auto": AUTO,
    "critical": critical,
    # variance
    "he": HE,
    "xavier": XAVIER,
    "lecun": LECUN,
    "orthogonal": ORTHOGONAL,
    # language
    "gpt2": gpt2,
    "megatron": megatron,
    "llama": llama,
    "llama-depth": llama_depth,
    "olmo-mitchell": olmo_mitchell,
    "olmo-megatron": olmo_megatron,
    "olmo-normal": olmo_normal,
    "small-init": SMALL_INIT,
    "wang": WANG,
    "bert": bert,
    "modernbert": modernbert,
    "t5": T5,
    "clip": CLIP,
    "whisper": whisper,
    "rwkv": RWKV,
    "mamba": mamba,
    "mamba2": mamba2,
    # vision
    "vit": vit,
    "convnext": CONVNEXT,
    "resnet": RESNET,
    "efficientnet": EFFICIENTNET,
    "dcgan": DCGAN,
    "dit": DIT,
    "siren": siren,
    # residual
    "deepnorm": DEEPNORM,
    "subln": SUBLN,
    "t-fixup": T_FIXUP,
    "fixup": FIXUP,
    "skipinit": SKIPINIT,
    "rezero": REZERO,
    "layerscale": layerscale,
    # recurrent
    "lstm": LSTM,
    "irnn": irnn,
    "chrono": chrono,
    # examples
    "ggml-mnist": GGML_MNIST,
}


def names() -> tuple[str, ...]:
    """The names of all recipes.

    >>> names()[:3]
    ('native', 'auto', 'critical')
    """
    return tuple(_RECIPES)


def options(name: str) -> tuple[Option, ...]:
    """The options of the recipe of that name, with their defaults and meanings.

    Raises:
        UnknownNameError: there is no such recipe; suggests the nearest.

    >>> options("he")
    ()
    """
    made = _known(name)
    return () if isinstance(made, Recipe) else options_of(made)


def named(name: str, **given: object) -> Recipe:
    """The recipe of that name.

    Args:
        name: a name, with options after commas ("gpt2,std=0.01"); a path ending in .toml; or several of these joined
            by "|", of which each is asked about what those before it have no rule for.
        given: the same options in Python.

    Raises:
        UnknownNameError: no recipe or option of that name; suggests the nearest.
        ArgumentError: a value that the option cannot have, or a file that cannot be read.

    >>> named("he").title
    'normal, gain of the activation that follows over fan-in'
    """
    first, *others = map(str.strip, name.split("|"))
    recipe = _single(first, given)
    for other in others:
        recipe = recipe | _single(other, {})
    return recipe


def _single(spec: str, given: dict[str, object]) -> Recipe:
    if spec.endswith(".toml"):
        return Recipe.from_toml(spec)
    name, *words = map(str.strip, spec.split(","))
    made, known = _known(name), options(name)
    pairs = {key.strip(): value.strip() for key, _, value in (_pair(name, word) for word in words)}
    arguments = read_options(name, known, pairs | given)
    if isinstance(made, Recipe):
        return made
    changed = {option.name: arguments[option.name] for option in known if option.name in arguments}
    shown = "".join(f",{key}={_shown(value)}" for key, value in changed.items())
    return replace(made(**arguments), name=name + shown)


def _known(name: str) -> Recipe | Callable[..., Recipe]:
    if name not in _RECIPES:
        raise UnknownNameError.among("recipe", name, _RECIPES)
    return _RECIPES[name]


def _pair(recipe: str, word: str) -> tuple[str, str, str]:
    if "=" not in word:
        raise ArgumentError(f"options of recipe {recipe!r} are written as name=value, got {word!r}")
    return word.partition("=")


def _shown(value: float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
