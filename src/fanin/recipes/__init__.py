"""Recipes: ordered, named, cited rule tables from what a tensor is for to how it starts."""

from fanin.recipes.matching import contracts as contracts
from fanin.recipes.matching import has_role as has_role
from fanin.recipes.matching import is_called as is_called
from fanin.recipes.recipe import Choice as Choice
from fanin.recipes.recipe import Recipe as Recipe
from fanin.recipes.recipe import Rule as Rule
from fanin.recipes.registry import named as named
from fanin.recipes.registry import names as names
from fanin.recipes.tensor_info import TensorInfo as TensorInfo
