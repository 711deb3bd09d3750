"""The sets by name, with their options as text: `load("fashion-mnist,train=5000,size=14")`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fanin.data.dataset import Dataset, Task
from fanin.data.digits import FILE as DIGITS
from fanin.data.digits import digits
from fanin.data.fashion_mnist import fashion_mnist, idx
from fanin.data.fashion_mnist import missing as no_fashion_mnist
from fanin.data.images import images
from fanin.data.known_series import AIRLINE, CO2, ELNINO, SUNSPOTS, KnownSeries, csv
from fanin.data.mnist import FILE as MNIST
from fanin.data.mnist import raw_mnist
from fanin.data.needs import Progress, silent
from fanin.data.picture import missing as no_picture
from fanin.data.picture import picture
from fanin.data.sequence_tasks import adding, copy
from fanin.data.series import series
from fanin.data.text import text
from fanin.errors import ArgumentError, UnknownNameError

if TYPE_CHECKING:
    from fanin.models.options import Option


def _nothing() -> None:
    """Nothing is missing."""


@dataclass(frozen=True, slots=True)
class Known:
    """A set that can be named.

    Attributes:
        name: as in `load(name)`.
        title: what it is, in a line.
        task: what a model learns from it.
        missing: says what to install, None where all is there.
        needs: an option that must be given.

    >>> known("csv").needs, known("sunspots").task
    ('path', 'regression')
    """

    name: str
    title: str
    task: Task
    read: Callable[..., Dataset]
    fixed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    missing: Callable[[], str | None] = _nothing
    needs: str | None = None

    @property
    def options(self) -> tuple[Option, ...]:
        """What can be given as `name,option=value`."""
        from fanin.models.options import options_of

        hidden = {"read", "progress", *self.fixed}
        return tuple(option for option in options_of(self.read) if option.name not in hidden)


def _images(name: str, title: str, read: Any, missing: Callable[[], str | None], *, path: bool = False) -> Known:
    fixed = {"read": read} if path else {"read": read, "path": None}
    return Known(name, title, "classification", images, fixed, missing)


def _series(name: str, title: str, known: KnownSeries) -> Known:
    return Known(name, title, "regression", series, {"read": known.read}, lambda: known.file.missing)


_SETS = {
    known.name: known
    for known in (
        _images("mnist", "5,000 handwritten digits, 28×28", raw_mnist, lambda: MNIST.missing),
        _images("fashion-mnist", "70,000 pieces of clothing, 28×28", fashion_mnist, no_fashion_mnist, path=True),
        _images("digits", "1,797 handwritten digits, 8×8", digits, lambda: DIGITS.missing),
        replace(_images("idx", "images and labels in IDX files", idx, _nothing, path=True), needs="path"),
        _series("sunspots", "yearly sunspot numbers 1700–2008", SUNSPOTS),
        _series("co2", "weekly CO₂ in the air 1958–2001", CO2),
        _series("elnino", "monthly sea temperatures 1950–2010", ELNINO),
        _series("airline", "monthly airline passengers 1949–1960", AIRLINE),
        Known("csv", "columns of a CSV file, one row a step", "regression", csv, needs="path"),
        Known("text", "Python's own help, or any UTF-8 file", "tokens", text),
        Known("copy", "copy memory task", "tokens", copy),
        Known("adding", "adding problem", "regression", adding),
        Known("picture", "a picture, from places to pixels", "regression", picture, missing=no_picture),
    )
}


def names() -> tuple[str, ...]:
    """The sets that `load` knows, installed or not.

    >>> names()[:3]
    ('mnist', 'fashion-mnist', 'digits')
    """
    return tuple(_SETS)


def known(name: str) -> Known:
    """What is known of a set without reading it.

    Raises:
        UnknownNameError: no set of that name.

    >>> known("copy").title, known("copy").missing()
    ('copy memory task', None)
    >>> known("copy").options[0].name
    'delay'
    """
    if name not in _SETS:
        raise UnknownNameError.among("data set", name, _SETS)
    return _SETS[name]


def load(spec: str, progress: Progress | None = None) -> Dataset:
    """The set that `spec` names: a name, then options, as in "fashion-mnist,train=5000,test=1000,size=14".

    Nothing is downloaded: files come from installed packages or from a path. The same spec gives the same arrays, and
    all statistics (normalisation, vocabulary) are those of the training part alone.

    Args:
        spec: one of `names()`, and options of that set joined by commas; `fanin data NAME` tells them.
        progress: called with (done, in all) while files are read.

    Raises:
        UnknownNameError: no set or option of that name.
        ArgumentError: an option that cannot be meant, or asks for more than there is.
        MissingExtraError: what has the files is not installed; says what to install.
        DataError: a file that cannot be read, or is another.

    >>> data = load("sunspots,lookback=22,horizon=4")
    >>> data.train.inputs.shape, data.train.targets.shape, data.sizes["horizon"]
    ((222, 22, 1), (222, 4, 1), 4)
    """
    name, *pairs = spec.split(",")
    found = known(name)
    given: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or key in given:
            raise ArgumentError(f"data {spec!r}: options are written key=value, each once, got {pair!r}")
        given[key] = value
    return replace(found.read(**found.fixed, **_read(found, given), progress=progress or silent), name=name)


def _read(found: Known, given: Mapping[str, str]) -> dict[str, Any]:
    """The options as values."""
    if not given:
        return {}
    from fanin.models.options import read_options  # loads torch, which a set without options does not need

    return read_options(found.name, found.options, given)
