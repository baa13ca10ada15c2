"""Sums, means, deviations and products that have the same bits on every machine, however a sample is cut.

``numpy.sum`` does not promise that: the order in which it adds depends on the vector width of the processor.
Here every sum is a **fixed binary tree** of elementwise additions, and only operations that IEEE 754 rounds
exactly (add, subtract, multiply, divide, square root) touch the values. The additions are the compiled core's
(``kernel/sums.pxi``), one pass over the values.

The tree hangs on the paths' numbers, not on the piece of the sample that is at hand. Its leaves are `LEAF`
paths each; two neighbours make a node, two neighbouring nodes the next, as far as the paths go. What is known
of any range of paths is therefore a few finished nodes (`tally`), two of which become one as soon as they are
neighbours (`join`): a sample of 10^8 paths needs some twenty of them at a time, and the result does not
depend on how it was cut, by whom, or in which order the pieces came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mcmm._isa import core

__all__ = [
    "BATCHES",
    "LEAF",
    "FloatArray",
    "Form",
    "Kind",
    "Moments",
    "Node",
    "RowOf",
    "form_of",
    "join",
    "moments_of",
    "root",
    "row_moments",
    "row_statistics",
    "tally",
    "tally_whole",
    "tree_sum",
]

FloatArray = npt.NDArray[np.float64]
Pairs = Sequence[tuple[int, int]]

LEAF = 256
"""Paths in a leaf of the tree. It is part of every mean's definition: another value changes last bits."""
BATCHES = 64
"""Batches of a sample: batch b has the paths whose number is b modulo this."""


class Node(NamedTuple):
    """What is known of the paths below one node of the tree.

    Attributes
    ----------
    level, number : int
        It has the paths from ``number * LEAF * 2**level`` on, ``LEAF * 2**level`` of them or what there is.
    counts, totals : ndarray of shape (rows,)
        Values that are not NaN, and their sum.
    squares : ndarray of shape (rows + pairs,)
        The sum of the squared deviations from the node's own mean, then of the products of the pairs'.
    batches : ndarray of shape (rows, BATCHES)
        The values' sum by batch, for as many of the first rows as were asked for; NaN counts as 0.
    """

    level: int
    number: int
    counts: FloatArray
    totals: FloatArray
    squares: FloatArray
    batches: FloatArray

    @property
    def first_leaf(self) -> int:
        """The number of its first leaf."""
        return self.number << self.level


class Kind(IntEnum):
    """How a row is made of columns; the numbers are those of kernel/sums.pxi."""

    AS_IT_IS = 0
    DIFFERENCE = 1
    NEGATIVE = 2
    POSITIVE = 3
    UNLESS_NEGATIVE = 4


class RowOf(NamedTuple):
    """A row made of columns: as one is, less another, 1 where it is below or above 0, NaN where below.

    Attributes
    ----------
    kind : Kind
        How.
    column, other : int
        Of which column; ``other`` is what a difference takes off.
    """

    kind: Kind
    column: int
    other: int = 0


class Form(NamedTuple):
    """What is summed of samples, as the core takes it, and where it stands in an array of their sums.

    Attributes
    ----------
    rows : ndarray of int32, shape (rows, 3)
        Each row's `RowOf`.
    pairs : ndarray of int32, shape (pairs, 2)
        Rows whose products of deviations are wanted.
    batched : int
        How many of the rows, from the first on, are summed by batch too.
    """

    rows: npt.NDArray[np.int32]
    pairs: npt.NDArray[np.int32]
    batched: int

    @property
    def width(self) -> int:
        """How many numbers a sample's sums are."""
        return 3 * len(self.rows) + len(self.pairs) + self.batched * BATCHES

    def split(self, sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return counts, totals, squares and batches of samples, as `Node` has them, an axis before.

        Parameters
        ----------
        sums : ndarray of shape (samples, width)
            A row each, as `tally_whole` fills it in.
        """
        rows, end = len(self.rows), 3 * len(self.rows) + len(self.pairs)
        batches = sums[:, end:].reshape(len(sums), self.batched, BATCHES)
        return sums[:, :rows], sums[:, rows : 2 * rows], sums[:, 2 * rows : end], batches


class Moments(NamedTuple):
    """Counts (without NaN), means, standard deviations (n - 1) and standard errors, each of shape (rows,)."""

    counts: FloatArray
    mean: FloatArray
    sd: FloatArray
    standard_error: FloatArray


def tree_sum(values: npt.ArrayLike) -> FloatArray:
    """Sum over the last axis along the fixed binary tree.

    The axis is cut into leaves of `LEAF` elements, the last one padded with zeros. A leaf is folded (element
    i plus element i + h, for h = 128, 64, .., 1) until one element is left. Then neighbours are added, the
    leaves 0 and 1, 2 and 3, and so on, an odd one at the end as it is, until one is left. The rounding error
    grows with the logarithm of the length.

    Parameters
    ----------
    values : array_like of shape (..., n)
        n may be 0.

    Returns
    -------
    ndarray of shape (...)
        The sums, the same bits on every machine.
    """
    array = np.asarray(values, dtype=np.float64)
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    sums = np.empty(len(rows))
    core.tree_sums(np.ascontiguousarray(rows), sums)
    return sums.reshape(array.shape[:-1])


def tally(
    values: npt.ArrayLike,
    first_path: int = 0,
    pairs: Pairs = (),
    batched: int | None = None,
    rows: Sequence[RowOf] | None = None,
) -> list[Node]:
    """Sum up a range of paths.

    Parameters
    ----------
    values : array_like of shape (columns, paths)
        NaN is left out.
    first_path : int
        Number of the first path, a multiple of `LEAF`.
    pairs : sequence of tuple of int
        Rows whose products of deviations are wanted; they must have no NaN.
    batched : int, optional
        How many of the rows, from the first on, are summed by batch too; all if left out.
    rows : sequence of RowOf, optional
        The rows to be summed, made of the columns; the columns themselves if left out.

    Returns
    -------
    list of Node
        In path order, as few as there can be.
    """
    array = np.ascontiguousarray(values, dtype=np.float64)
    if first_path % LEAF:
        raise ValueError(f"first_path: must be a multiple of {LEAF}, got {first_path}")
    form = form_of(_as_they_are(len(array)) if rows is None else tuple(rows), tuple(pairs), batched)
    found = core.sum_paths(array, form.rows, form.pairs, form.batched, first_path // LEAF)
    return [Node(*each) for each in found]


def tally_whole(values: FloatArray, form: Form, out: FloatArray) -> int:
    """Sum up a whole sample: what `root` makes of its `tally`, without the nodes.

    Parameters
    ----------
    values : ndarray of shape (columns, paths)
        All of its paths, at least one, C-contiguous; NaN is left out.
    form : Form
        What is wanted.
    out : ndarray of shape (form.width,)
        What takes the sums.

    Returns
    -------
    int
        The root's level.
    """
    return core.sum_whole(values, form.rows, form.pairs, form.batched, out)


def join(nodes: Iterable[Node], pairs: Pairs = ()) -> list[Node]:
    """Make one node of two wherever they are neighbours below one node of the tree.

    Parameters
    ----------
    nodes : iterable of Node
        In path order; any may be missing.
    pairs : sequence of tuple of int
        As for `tally`.

    Returns
    -------
    list of Node
        The same paths in as few nodes as there can be, in path order.
    """
    stack: list[Node] = []
    for node in nodes:
        stack.append(node)
        while len(stack) > 1 and _are_siblings(stack[-2], stack[-1]):
            later = stack.pop()
            stack.append(_merge_two(stack.pop(), later, pairs))
    return stack


def root(nodes: Sequence[Node], pairs: Pairs = ()) -> Node:
    """Merge the nodes of a whole sample, which begins with path 0, to one.

    Parameters
    ----------
    nodes : sequence of Node
        As `tally` and `join` return them; at least one.
    pairs : sequence of tuple of int
        As for `tally`.

    Returns
    -------
    Node
        The tree's root: of all cuts of the same sample the same, bit for bit.
    """
    # What has no neighbour yet rises as it is, so the small nodes at the end are merged first.
    whole = nodes[-1]
    for node in reversed(nodes[:-1]):
        whole = _merge_two(node, whole, pairs)
    return whole


def moments_of(node: Node) -> Moments:
    """Mean and deviation of each row of a sample.

    Returns
    -------
    Moments
        NaN for the mean of no values, and for the deviation and standard error of fewer than two.
    """
    return row_statistics(node.counts, node.totals, node.squares[: len(node.counts)])


def row_statistics(counts: FloatArray, totals: FloatArray, squares: FloatArray) -> Moments:
    """Mean and deviation from counts, sums and squared deviations, of any one shape; see `moments_of`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = totals / counts + 0.0
        variance = np.where(counts > 1.0, squares / (counts - 1.0), np.nan)
        return Moments(counts, mean, np.sqrt(variance), np.sqrt(variance / counts))


def row_moments(values: npt.ArrayLike) -> Moments:
    """Count, mean, standard deviation and standard error of each row.

    Parameters
    ----------
    values : array_like of shape (rows, paths)
        NaN is left out.

    Returns
    -------
    Moments
        Arrays of shape (rows,).
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape[1] == 0:
        nothing = np.zeros(array.shape[0])
        return moments_of(Node(0, 0, nothing, nothing, nothing, np.zeros((0, BATCHES))))
    return moments_of(root(tally(array, batched=0)))


@cache
def form_of(rows: tuple[RowOf, ...], pairs: tuple[tuple[int, int], ...], batched: int | None) -> Form:
    """Return the form of sums; the arguments are those of `tally`."""
    made = np.array(rows, dtype=np.int32).reshape(-1, 3)
    return Form(made, _pairs_of(pairs), len(made) if batched is None else batched)


@cache
def _as_they_are(columns: int) -> tuple[RowOf, ...]:
    return tuple(RowOf(Kind.AS_IT_IS, place) for place in range(columns))


@cache
def _pairs_of(pairs: tuple[tuple[int, int], ...]) -> npt.NDArray[np.int32]:
    return np.array(pairs, dtype=np.int32).reshape(-1, 2)


def _are_siblings(one: Node, other: Node) -> bool:
    return one.level == other.level and one.number % 2 == 0 and other.number == one.number + 1


def _merge_two(one: Node, other: Node, pairs: Pairs) -> Node:
    # The level of a node that closes a sample says nothing; that of two siblings' parent does.
    return Node(
        one.level + 1, one.number // 2, *core.sum_neighbours(one[2:], other[2:], _pairs_of(tuple(pairs)))
    )
