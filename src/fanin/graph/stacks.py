"""Stacks of repeated blocks: which containers they are, and the order of their layers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

# Path of a container → class of each of its elements by the element's own name.
Lists = Mapping[str, Mapping[str, str]]


@dataclass(slots=True)
class Stack:
    """Blocks, by qualified name, in the order of the forward pass."""

    name: str
    blocks: list[str] = field(default_factory=list[str])


class Stacks:
    """The stacks of a model, and for any module the block it lies in.

    A block is an element of a container whose elements are all of one class, or of the outermost container where no
    such one is found. Containers whose paths agree once numbers are left out (stages) are one stack.

    Args:
        lists: the model's containers.
        repeating: modules that hold a residual sum, in order.
        order: modules in the order in which the pass first reached them.

    >>> lists = {"h": {"0": "Block", "1": "Block"}, "h.0.experts": {"0": "MLP"}}
    >>> stacks = Stacks(lists, ["h.0.mlp"], ["h.1", "h.0"])
    >>> stacks.of("h.0.experts.0.up"), stacks.layer("h.0")
    (('h', 'h.0'), (1, 2))
    """

    def __init__(self, lists: Lists, repeating: Iterable[str], order: Iterable[str]) -> None:
        self._lists = lists
        self._stacks: dict[str, Stack] = {}
        self._stack_of: dict[str, str] = {}
        blocks = list(dict.fromkeys(block for module in repeating if (block := self._around(module))))
        known = {unnumbered(_parent(block)) for block in blocks}
        for path in lists:
            if self._is_uniform(path) and unnumbered(path) in known:
                blocks += self._elements(path)
        residual = frozenset(blocks)
        for path in lists:
            if self._is_plain_stack(path, residual):
                blocks += self._elements(path)
        reached = {module: number for number, module in enumerate(dict.fromkeys(_with_parents(order)))}
        registered = {block: number for number, block in enumerate(itertools.chain(*map(self._elements, lists)))}
        ordered = sorted(set(blocks), key=lambda block: (reached.get(block, len(reached)), registered[block]))
        names = _names({_parent(block) for block in ordered})
        for block in ordered:
            name = names[_parent(block)]
            self._stacks.setdefault(name, Stack(name)).blocks.append(block)
            self._stack_of[block] = name

    def of(self, module: str) -> tuple[str, str]:
        """The stack and the block that a module lies in, the innermost; ("", "") outside of any."""
        for path in _upwards(module):
            if path in self._stack_of:
                return self._stack_of[path], path
        return "", ""

    def layer(self, block: str) -> tuple[int, int]:
        """The number of a block in its stack, and how many blocks that has."""
        blocks = self._stacks[self._stack_of[block]].blocks
        return blocks.index(block), len(blocks)

    def layers(self, stack: str) -> int:
        """How many blocks a stack has."""
        return len(self._stacks[stack].blocks) if stack in self._stacks else 0

    def _around(self, module: str) -> str:
        elements = [path for path in _upwards(module) if path and self._is_element(path)]
        uniform = (path for path in elements if self._is_uniform(_parent(path)))
        return next(uniform, elements[-1] if elements else "")

    def _is_element(self, path: str) -> bool:
        return path.rpartition(".")[2] in self._lists.get(_parent(path), {})

    def _is_uniform(self, path: str) -> bool:
        return len(set(self._lists[path].values())) == 1

    def _is_plain_stack(self, path: str, residual: frozenset[str]) -> bool:
        """A container of equal blocks outside of residual ones and around none."""
        if not self._is_uniform(path) or len(self._lists[path]) < 2:
            return False
        inside = any(above in residual for above in _upwards(path))
        around = any(block.startswith(f"{path}." if path else "") for block in residual)
        nested = any(
            above != path and above in self._lists and self._is_uniform(above) and len(self._lists[above]) > 1
            for above in _upwards(path)
        )
        return not (inside or around or nested)

    def _elements(self, path: str) -> list[str]:
        return [f"{path}.{key}" if path else key for key in self._lists[path]]


def unnumbered(path: str) -> str:
    """A path without numbers, by which containers of one stack are alike.

    >>> unnumbered("encoder.layers.0.blocks"), unnumbered("layer1")
    ('encoder.layers.blocks', 'layer')
    """
    words = (word.rstrip("0123456789") for word in path.split("."))
    return ".".join(word for word in words if word)


def _names(paths: Iterable[str]) -> dict[str, str]:
    """The name of each container's stack: without the numbers in which its containers differ, or that stand alone."""
    alike: dict[str, list[list[str]]] = {}
    for path in paths:
        alike.setdefault(unnumbered(path), []).append(path.split("."))
    return {".".join(path): _common(group) for group in alike.values() for path in group}


def _common(group: list[list[str]]) -> str:
    words = (set(each) for each in zip(*group, strict=False))
    kept = (next(iter(each)) if len(each) == 1 else next(iter(each)).rstrip("0123456789") for each in words)
    return ".".join(word for word in kept if word and not word.isdecimal())


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _upwards(path: str) -> Iterator[str]:
    """A path, its parent, and so on to the root."""
    while path:
        yield path
        path = _parent(path)
    yield ""


def _with_parents(modules: Iterable[str]) -> Iterator[str]:
    for module in dict.fromkeys(modules):
        yield from _upwards(module)
