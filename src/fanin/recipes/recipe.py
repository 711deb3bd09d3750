"""Recipe: an ordered table of rules, each with its reason and source; the first that matches decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fanin.errors import ArgumentError
from fanin.recipes.override import Law, override_rules
from fanin.recipes.recipe_file import recipe_fields
from fanin.recipes.rule import Choice, Rule
from fanin.recipes.tensor_info import TensorInfo


@dataclass(frozen=True, slots=True)
class Recipe:
    """An ordered, named, cited, versioned rule table; the first rule that matches a tensor decides.

    A tensor that no rule matches takes the law of the model's own code. `a | b` asks b about tensors that no rule of
    a matches.

    Attributes:
        name: what `named` finds it by.
        rules: in order.
        title: one line for lists.
        source: the paper or code the recipe follows.
        version: raised when a rule changes what is drawn.

    >>> from math import sqrt
    >>> from fanin.initializers import Constant, Normal
    >>> from fanin.recipes import Rule, contracts, has_role, is_last
    >>> mine = Recipe(
    ...     "mine",
    ...     (
    ...         Rule(is_last, lambda tensor: Normal(std=0.02 / sqrt(tensor.place.branches)), "sums stay small"),
    ...         Rule(contracts, lambda tensor: Normal(std=0.02), "as in GPT-2"),
    ...         Rule(has_role("bias"), lambda tensor: Constant(0.0), "silent"),
    ...         Rule(has_role("norm scale"), lambda tensor: None, "the authors know best"),
    ...     ),
    ... )
    >>> mine.choose(TensorInfo("fc.bias", (3,), "float32", "parameter", "bias"))
    Choice(initializer=Constant(value=0.0), why='silent', source='recipe mine 1')
    """

    name: str
    rules: tuple[Rule, ...]
    title: str = ""
    source: str = ""
    version: int = 1

    @classmethod
    def from_toml(cls, source: str | Path) -> Recipe:
        """The recipe that a TOML file (a path ending in .toml) or text describes.

        Keys of the file: name, title, source, version and rules. Each rule says which tensors it is for (role, name,
        last, layer stack, side, activation, partner: all that are given must hold), the law (`law` with its numbers,
        `scheme` with its arguments, or `law = "keep"` for the authors' own), and why. Numbers may be formulas over
        the quantities of `fanin.recipes.formula.QUANTITIES`.

        Raises:
            ArgumentError: no such file, not TOML, or a rule that cannot be read; names the rule and the key.
            UnknownNameError: no role, law or scheme of that name.

        >>> recipe = Recipe.from_toml('''
        ... name = "mine"
        ... source = "my notes"
        ... rules = [
        ...   { name = "lm_head*", law = "normal", std = "1 / sqrt(fan_in)", why = "logits of variance 1" },
        ...   { last = true, law = "normal", std = "0.02 / sqrt(branches)" },
        ...   { role = ["projection", "mlp up"], scheme = "he_normal", gain = "gain" },
        ...   { role = "bias", law = "constant", value = 0 },
        ... ]
        ... ''')
        >>> recipe.choose(TensorInfo("fc.bias", (3,), "float32", "parameter", "bias")).initializer
        Constant(value=0.0)
        """
        name, rules, title, cited, version = recipe_fields(source)
        return cls(name, rules, title, cited, version)

    def choose(self, tensor: TensorInfo) -> Choice | None:
        """The initializer for one tensor with its reason, or None where no rule matches.

        Raises:
            ArgumentError: the rule that matches cannot be applied; names the tensor.
        """
        rule = next((rule for rule in self.rules if rule.matches(tensor)), None)
        if rule is None:
            return None
        try:
            return rule.choice(tensor, self._cite(rule))
        except ArgumentError as error:
            raise ArgumentError(f"recipe {self.name!r} cannot initialize {tensor.name!r}: {error}") from error

    def override(self, laws: Mapping[str, Law]) -> Recipe:
        """This recipe with rules of the user in front of its own.

        Args:
            laws: role or pattern of names ("lm_head*", "*.bias"; a module's name stands for all in it) → an
                initializer, a scheme, a function of a `TensorInfo`, or None to keep the authors' law.

        Raises:
            ArgumentError: a value that is none of these.

        >>> from fanin.initializers import Normal
        >>> from fanin.recipes import named
        >>> mine = named("he").override({"lm_head": Normal(std=0.02)})
        >>> mine.choose(TensorInfo("lm_head.weight", (9, 4), "float32", "parameter", "head")).why
        "override of 'lm_head'"
        """
        name = f"{self.name}+override"
        return replace(self, name=name, rules=(*override_rules(laws, name), *self._signed()))

    def __or__(self, other: Recipe) -> Recipe:
        title = f"{self.title}; else {other.title}"
        rules = (*self._signed(), *other._signed())
        return Recipe(f"{self.name}|{other.name}", rules, title, f"{self.source}; {other.source}")

    def _signed(self) -> Iterator[Rule]:
        """Its rules, each saying where it comes from, for another recipe to stand in."""
        for rule in self.rules:
            yield replace(rule, source=rule.source or self.source, recipe=rule.recipe or f"{self.name} {self.version}")

    def _cite(self, rule: Rule) -> str:
        if rule.recipe:
            return f"recipe {rule.recipe}" + (f": {rule.source}" if rule.source else "")
        source = rule.source or self.source
        return f"recipe {self.name} {self.version}" + (f": {source}" if source else "")
