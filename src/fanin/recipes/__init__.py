"""Recipes: ordered, named, cited rule tables from what a tensor is for to how it starts."""

from fanin.recipes.formula import Formula as Formula
from fanin.recipes.matching import beside as beside
from fanin.recipes.matching import both as both
from fanin.recipes.matching import contracts as contracts
from fanin.recipes.matching import either as either
from fanin.recipes.matching import followed_by as followed_by
from fanin.recipes.matching import has_role as has_role
from fanin.recipes.matching import in_stack as in_stack
from fanin.recipes.matching import is_called as is_called
from fanin.recipes.matching import is_last as is_last
from fanin.recipes.matching import on_side as on_side
from fanin.recipes.options import Option as Option
from fanin.recipes.recipe import Recipe as Recipe
from fanin.recipes.registry import named as named
from fanin.recipes.registry import names as names
from fanin.recipes.registry import options as options
from fanin.recipes.rule import Choice as Choice
from fanin.recipes.rule import Rule as Rule
from fanin.recipes.tensor_info import TensorInfo as TensorInfo
