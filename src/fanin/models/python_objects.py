"""Model factories and functions from the user's own Python: `path.py:name`, `package.module:name`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from hashlib import blake2b
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from fanin.errors import ArgumentError, UnknownNameError

Factory = Callable[[], nn.Module]


def python_factory(text: str) -> Factory:
    """The factory that `text` names: a function or module class callable without arguments.

    Args:
        text: `path.py:factory` (a file, run once per call) or `package.module:factory` (an importable module; the
            current folder counts). The file's folder is importable while it runs.

    Raises:
        UnknownNameError: no such file, module or factory.
        ArgumentError: the code fails, or the object cannot be called without arguments or returns no module.
    """
    made = _object(f"model {text!r}", text, "factory")
    _check_factory(text, made)
    return lambda: _build(text, made)


def python_function(text: str) -> Callable[..., Any]:
    """The function that `text` names: `path.py:function` or `package.module:function`; of a class, an object of it.

    Raises:
        UnknownNameError: no such file, module or function.
        ArgumentError: the code fails, or the object cannot be called.

    >>> python_function("math:tanh")(0.0), python_function("torch.nn:GELU")
    (0.0, GELU(approximate='none'))
    """
    found = _object(f"function {text!r}", text, "function")
    if isinstance(found, type):
        try:
            found = found()
        except Exception as error:
            raise ArgumentError(f"function {text!r}: making a {found.__name__} fails: {error}") from error
    if not callable(found):
        raise ArgumentError(f"function {text!r} is a {type(found).__name__}, which cannot be called")
    return found


def _object(label: str, text: str, kind: str) -> Any:
    place, _, name = text.rpartition(":")
    module = _run_file(label, Path(place)) if place.endswith(".py") else _import(label, place)
    found = getattr(module, name, None)
    if found is None:
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        raise UnknownNameError.among(f"{kind} in {place}", name, own)
    return found


def _check_factory(text: str, made: object) -> None:
    if isinstance(made, nn.Module) or not callable(made):
        raise ArgumentError(
            f"model {text!r} is a {type(made).__name__}, not a factory: name a function or class that builds the model"
        )
    try:
        inspect.signature(made).bind()
    except TypeError as error:
        raise ArgumentError(f"model {text!r} must be callable without arguments: {error}") from None
    except ValueError:  # no signature to look at; calling it will tell
        return


def _build(text: str, made: Callable[[], object]) -> nn.Module:
    model = made()
    if not isinstance(model, nn.Module):
        raise ArgumentError(f"model {text!r} must return a torch.nn.Module, got {type(model).__name__}")
    return model


def _run_file(label: str, path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownNameError(f"{label}: there is no file {str(path)!r}")
    # Registered under a name of its own, because dataclasses and pickle look a class's module up.
    name = f"_fanin_user_{path.stem}_{blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ArgumentError(f"{label}: {path} cannot be run as Python")
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(path.resolve().parent):
            spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ArgumentError(f"{label}: {path} fails with {type(error).__name__}: {error}") from error
    return module


def _import(label: str, name: str) -> ModuleType:
    try:
        with _importable(Path.cwd()):
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UnknownNameError(f"{label}: there is no importable module {name!r}") from None
        raise ArgumentError(f"{label}: importing {name} fails: {error}") from error
    except Exception as error:
        raise ArgumentError(f"{label}: importing {name} fails with {type(error).__name__}: {error}") from error


@contextmanager
def _importable(folder: Path) -> Generator[None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)
