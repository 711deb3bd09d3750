"""Recipe: an ordered table of rules, each with its reason and source; the first that matches decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fanin.errors import ArgumentError
from fanin.initializers import Initializer
from fanin.recipes.tensor_info import TensorInfo


@dataclass(frozen=True, slots=True)
class Choice:
    """What a recipe says about one tensor.

    >>> from fanin.recipes import TensorInfo, named
    >>> named("he").choose(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias")).why
    'a bias starts at 0'
    """

    initializer: Initializer
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a recipe.

    Attributes:
        matches: whether the rule speaks about a tensor.
        scheme: the initializer for it.
        why: the reason for a person, or a function that words it for a tensor.
        source: the paper or code that says so; the recipe's own source where empty.

    >>> from fanin.initializers import Constant
    >>> from fanin.recipes import has_role
    >>> silent = Rule(has_role("bias"), lambda tensor: Constant(0.0), "starts silent")
    >>> silent.matches(TensorInfo("fc.bias", (4,), "float32", "parameter", "bias"))
    True
    """

    matches: Callable[[TensorInfo], bool]
    scheme: Callable[[TensorInfo], Initializer]
    why: str | Callable[[TensorInfo], str]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered, named, cited, versioned rule table; the first rule that matches a tensor decides.

    A tensor that no rule matches takes the law of the model's own code.

    Attributes:
        name: what `named` finds it by.
        rules: in order.
        title: one line for lists.
        source: the paper or code the recipe follows.
        version: raised when a rule changes what is drawn.

    >>> from fanin.initializers import Normal
    >>> from fanin.recipes import Rule, has_role
    >>> mine = Recipe("mine", (Rule(has_role("projection"), lambda tensor: Normal(std=0.02), "as in GPT-2"),))
    >>> mine.choose(TensorInfo("fc.weight", (3, 4), "float32", "parameter", "projection"))
    Choice(initializer=Normal(mean=0.0, std=0.02), why='as in GPT-2', source='recipe mine 1')
    """

    name: str
    rules: tuple[Rule, ...]
    title: str = ""
    source: str = ""
    version: int = 1

    def choose(self, tensor: TensorInfo) -> Choice | None:
        """The initializer for one tensor with its reason, or None where no rule matches.

        Raises:
            ArgumentError: the rule that matches cannot be applied; names the tensor.
        """
        rule = next((rule for rule in self.rules if rule.matches(tensor)), None)
        if rule is None:
            return None
        try:
            why = rule.why if isinstance(rule.why, str) else rule.why(tensor)
            return Choice(rule.scheme(tensor), why, self._cite(rule))
        except ArgumentError as error:
            raise ArgumentError(f"recipe {self.name!r} cannot initialize {tensor.name!r}: {error}") from error

    def _cite(self, rule: Rule) -> str:
        source = rule.source or self.source
        return f"recipe {self.name} {self.version}" + (f": {source}" if source else "")
