"""The recipes that have a name."""

from __future__ import annotations

from fanin.errors import UnknownNameError
from fanin.recipes.authors import GGML_MNIST, NATIVE
from fanin.recipes.orthogonal import ORTHOGONAL
from fanin.recipes.recipe import Recipe
from fanin.recipes.variance import HE, LECUN, XAVIER

_RECIPES = {recipe.name: recipe for recipe in (NATIVE, HE, XAVIER, LECUN, ORTHOGONAL, GGML_MNIST)}


def names() -> tuple[str, ...]:
    """The names of all recipes.

    >>> names()
    ('native', 'he', 'xavier', 'lecun', 'orthogonal', 'ggml-mnist')
    """
    return tuple(_RECIPES)


def named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownNameError: there is none; suggests the nearest.

    >>> named("he").title
    'normal, gain of the activation that follows over fan-in'
    """
    if name not in _RECIPES:
        raise UnknownNameError.among("recipe", name, _RECIPES)
    return _RECIPES[name]
