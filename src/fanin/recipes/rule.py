"""One line of a recipe, and what it says about one tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fanin.initializers import Initializer
from fanin.recipes.tensor_info import TensorInfo


@dataclass(frozen=True, slots=True)
class Choice:
    """What a recipe says about one tensor; `initializer` is None where the law of the model's own code stays.

    >>> from fanin.recipes import TensorInfo, named
    >>> named("he").choose(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias")).why
    'a bias starts at 0'
    """

    initializer: Initializer | None
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a recipe.

    Attributes:
        matches: whether the rule speaks about a tensor.
        scheme: the initializer for it, or None to keep the law of the model's own code.
        why: the reason for a person, or a function that words it for a tensor.
        source: the paper or code that says so; the recipe's own source where empty.
        recipe: name and version of the recipe it was written in, where that is not the one it stands in.
        key: what the user calls the tensors it is for, where a plan must say that it found none.

    >>> from fanin.initializers import Constant
    >>> from fanin.recipes import has_role
    >>> silent = Rule(has_role("bias"), lambda tensor: Constant(0.0), "starts silent")
    >>> silent.matches(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias"))
    True
    """

    matches: Callable[[TensorInfo], bool]
    scheme: Callable[[TensorInfo], Initializer | None]
    why: str | Callable[[TensorInfo], str]
    source: str = ""
    recipe: str = ""
    key: str = ""

    def choice(self, tensor: TensorInfo, citation: str) -> Choice:
        """What it says about a tensor that it matches."""
        why = self.why if isinstance(self.why, str) else self.why(tensor)
        return Choice(self.scheme(tensor), why, citation)
