"""Transformers models with random weights: `hf:gpt2,n_layer=2` and `config.json`; local only, never remote code."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from fanin.errors import ArgumentError, FaninError, MissingExtraError, UnknownNameError
from fanin.models.parts import model_class_of_part
from fanin.models.presets import preset_fields

Factory = Callable[[], nn.Module]

# The head a type is pretrained with comes first; AutoModel (no head) takes what is left.
_HEADS = ("SEQ_TO_SEQ_CAUSAL_LM", "MASKED_LM", "CAUSAL_LM", "IMAGE_CLASSIFICATION")


def type_factory(model_type: str, options: dict[str, Any]) -> Factory:
    """The factory of the transformers type `model_type`: its default config with `options` in place of fields.

    The option `preset` names one of its published sizes; other options replace fields of that.

    The class is the first that transformers has of: sequence-to-sequence, masked or causal language model, image
    classifier; else the bare model; for a part of another model (`hf:siglip_text_model`) the class made from its
    config.

    Raises:
        MissingExtraError: transformers is not installed.
        UnknownNameError: no such type or preset, or its config has no such field.
        ArgumentError: a value the config refuses.
    """
    make_config = _config_class(model_type)
    default = make_config()
    size = preset_fields(model_type, str(options["preset"])) if "preset" in options else {}
    given = {key: value for key, value in options.items() if key != "preset"}
    for key in given:
        if not hasattr(default, key):
            fields = [name for name in vars(default) if not name.startswith("_")]
            raise UnknownNameError.among(f"option of hf:{model_type}", key, fields)
    configure = partial(make_config, **{**size, **given})
    _check_config(f"hf:{model_type}", configure)
    return lambda: model_of(f"hf:{model_type}", configure())


def config_factory(path: str) -> Factory:
    """The factory of the model that a `config.json` describes, of the class its `architectures` names.

    Raises:
        MissingExtraError: transformers is not installed.
        UnknownNameError: no such file, or a type that transformers does not have.
        ArgumentError: not a model's config, or one that asks for code of its own (`auto_map`).
    """
    fields = _read(Path(path))
    if "auto_map" in fields:
        raise ArgumentError(
            f"{path}: the config asks for code of its own (auto_map: {fields['auto_map']}), and fanin runs no code "
            f"that comes with a checkpoint: remove 'auto_map' to build transformers' own {fields.get('model_type')!r}"
        )
    model_type = fields.get("model_type")
    if not isinstance(model_type, str):
        raise ArgumentError(f"{path}: not the config of a transformers model: it has no 'model_type'")
    make_config = _config_class(model_type)
    configure = partial(make_config.from_dict, fields)
    _check_config(path, configure)
    architecture = next(iter(fields.get("architectures") or ()), None)
    return lambda: model_of(path, configure(), architecture)


def _read(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnknownNameError(f"model {str(path)!r}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{path}: not a readable JSON file: {error}") from None
    if not isinstance(fields, dict):
        raise ArgumentError(f"{path}: not the config of a transformers model: expected a JSON object")
    return fields


def _config_class(model_type: str) -> Any:
    if find_spec("transformers") is None:
        raise MissingExtraError.of("transformers", "transformers", f"models of transformers, as {model_type!r},")
    from transformers import CONFIG_MAPPING

    if model_type not in CONFIG_MAPPING:
        close = get_close_matches(model_type, list(CONFIG_MAPPING.keys()), n=3)
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise UnknownNameError(f"transformers has no model type {model_type!r}{hint or '.'}")
    return CONFIG_MAPPING[model_type]


def _check_config(what: str, configure: Callable[[], object]) -> None:
    try:
        configure()
    except Exception as error:
        raise ArgumentError(f"{what}: transformers refuses this config: {error}") from error


def model_of(what: str, config: Any, architecture: str | None = None) -> nn.Module:
    """The model of a transformers config, of the class named `architecture` or as `type_factory` chooses it.

    Raises:
        UnknownNameError: transformers has no such class.
        ArgumentError: building needs files, the model's constructor refuses the config, or it describes a part that is
            no model; `what` names it.
    """
    with _offline():
        try:
            return _model_class(what, config, architecture)(config)
        except FaninError:
            raise
        except OSError as error:
            raise ArgumentError(f"{what}: building needs files that are not here: {error}") from error
        except (ValueError, AssertionError, ZeroDivisionError) as error:
            raise ArgumentError(f"{what}: transformers refuses this config: {error}") from error


def _model_class(what: str, config: Any, architecture: str | None) -> Callable[[Any], nn.Module]:
    import transformers

    if architecture is not None:
        found = getattr(transformers, architecture, None)
        if found is None:
            raise UnknownNameError(f"{what}: transformers has no class {architecture!r}")
        return found._from_config
    for mapping in (*(f"MODEL_FOR_{head}_MAPPING" for head in _HEADS), "MODEL_MAPPING"):
        found = getattr(transformers, mapping).get(type(config), None)
        cls = found[0] if isinstance(found, tuple) else found
        # Some heads are registered for the config of a whole model, but made from its text part.
        if cls is not None and isinstance(config, cls.config_class):
            return cls._from_config
    return model_class_of_part(what, config)._from_config


@contextmanager
def _offline() -> Generator[None]:
    # Some constructors fetch a pretrained backbone; the hub's client refuses every request in this mode.
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
