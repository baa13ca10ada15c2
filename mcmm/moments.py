"""Sums, means, deviations and products that have the same bits on every machine, however a sample is cut.

``numpy.sum`` does not promise that: the order in which it adds depends on the vector width of the processor.
Here every sum is a **fixed binary tree** of elementwise additions, and only operations that IEEE 754 rounds
exactly (add, subtract, multiply, divide, square root) touch the values.

The tree hangs on the paths' numbers, not on the piece of the sample that is at hand. Its leaves are `LEAF`
paths each; two neighbours make a node, two neighbouring nodes the next, as far as the paths go. What is known
of any range of paths is therefore a few finished nodes (`tally`), two of which become one as soon as they are
neighbours (`join`): a sample of 10^8 paths needs some twenty of them at a time, and the result does not
depend on how it was cut, by whom, or in which order the pieces came.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BATCHES",
    "LEAF",
    "FloatArray",
    "Moments",
    "Node",
    "join",
    "moments_of",
    "root",
    "row_moments",
    "row_statistics",
    "tally",
    "tree_sum",
]

FloatArray = npt.NDArray[np.float64]

LEAF = 256
"""Paths in a leaf of the tree. It is part of every mean's definition: another value changes last bits."""
BATCHES = 64
"""Batches of a sample: batch b has the paths whose number is b modulo this."""

# Leaves worked on together: their rows fit a processor's cache.
_SLAB = 16


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


class Moments(NamedTuple):
    """Counts (without NaN), means, standard deviations (n - 1) and standard errors, each of shape (rows,)."""

    counts: FloatArray
    mean: FloatArray
    sd: FloatArray
    standard_error: FloatArray


class _Level(NamedTuple):
    """Neighbouring nodes of one level: as `Node`, the nodes as the second axis."""

    counts: FloatArray
    totals: FloatArray
    squares: FloatArray
    batches: FloatArray

    def take(self, nodes: slice) -> _Level:
        """Return some of the nodes."""
        return _Level(*(array[:, nodes] for array in self))

    def node(self, place: int, level: int, number: int) -> Node:
        """Return one of the nodes on its own."""
        return Node(level, number, *(array[:, place].copy() for array in self))


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
    if array.shape[-1] == 0:
        return np.zeros(array.shape[:-1])
    rows = array.reshape(math.prod(array.shape[:-1]), array.shape[-1])
    if rows.shape[1] <= LEAF:  # what the padding beyond the next power of two would add is 0
        padded = np.zeros((rows.shape[0], 1 << (rows.shape[1] - 1).bit_length()))
        padded[:, : rows.shape[1]] = rows
        return (_fold(padded) + 0.0).reshape(array.shape[:-1])
    sums = np.concatenate([_fold(leaves) for leaves, _ in _slabs(rows)], axis=1)
    while sums.shape[1] > 1:
        even = sums.shape[1] // 2 * 2
        sums = np.concatenate([sums[:, 0:even:2] + sums[:, 1:even:2], sums[:, even:]], axis=1)
    # A sum of negative zeros is 0: the padding adds one or not.
    return (sums[:, 0] + 0.0).reshape(array.shape[:-1])


def tally(
    values: npt.ArrayLike,
    first_path: int = 0,
    pairs: Sequence[tuple[int, int]] = (),
    batched: int | None = None,
) -> list[Node]:
    """Sum up a range of paths.

    Parameters
    ----------
    values : array_like of shape (rows, paths)
        NaN is left out.
    first_path : int
        Number of the first path, a multiple of `LEAF`.
    pairs : sequence of tuple of int
        Rows whose products of deviations are wanted; they must have no NaN.
    batched : int, optional
        How many of the rows, from the first on, are summed by batch too; all if left out.

    Returns
    -------
    list of Node
        In path order, as few as there can be.
    """
    array = np.asarray(values, dtype=np.float64)
    if first_path % LEAF:
        raise ValueError(f"first_path: must be a multiple of {LEAF}, got {first_path}")
    kept = array.shape[0] if batched is None else batched
    if array.shape[1] == 0:
        return []
    slabs = [_leaf_level(leaves, short, pairs, kept) for leaves, short in _slabs(array)]
    level = (
        slabs[0]
        if len(slabs) == 1
        else _Level(*(np.concatenate(p, axis=1) for p in zip(*slabs, strict=True)))
    )
    left: list[Node] = []
    right: list[Node] = []
    first, height = first_path // LEAF, 0
    while (width := level.counts.shape[1]) > 0:
        if first % 2:
            left.append(level.node(0, height, first))
            level, first, width = level.take(slice(1, None)), first + 1, width - 1
        if width % 2:
            right.append(level.node(width - 1, height, first + width - 1))
            level = level.take(slice(None, width - 1))
        level = _merge(level.take(slice(0, None, 2)), level.take(slice(1, None, 2)), pairs)
        first, height = first // 2, height + 1
    return [*left, *reversed(right)]


def join(nodes: Iterable[Node], pairs: Sequence[tuple[int, int]] = ()) -> list[Node]:
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


def root(nodes: Sequence[Node], pairs: Sequence[tuple[int, int]] = ()) -> Node:
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


def _slabs(rows: FloatArray) -> Iterable[tuple[FloatArray, int]]:
    """Yield some leaves at a time, shape (rows, leaves, LEAF), and how many paths the last one lacks."""
    paths = rows.shape[1]
    for begin in range(0, paths, _SLAB * LEAF):
        part = rows[:, begin : begin + _SLAB * LEAF]
        short = -part.shape[1] % LEAF
        if short:
            padded = np.zeros((part.shape[0], part.shape[1] + short))
            padded[:, : part.shape[1]] = part
            part = padded
        yield part.reshape(part.shape[0], -1, LEAF), short


def _fold(values: FloatArray, width: int = 1) -> FloatArray:
    """Fold the last axis to a width by elementwise additions, which no machine may reorder."""
    while (half := values.shape[-1] // 2) >= width:
        values = values[..., :half] + values[..., half:]
    return values[..., 0] if width == 1 else values


def _leaf_level(leaves: FloatArray, short: int, pairs: Sequence[tuple[int, int]], batched: int) -> _Level:
    """Sum up some leaves."""
    counts = np.full(leaves.shape[:2], float(LEAF))
    counts[:, -1] -= short
    batches = _fold(leaves, BATCHES)
    totals = _fold(batches)
    gone: npt.NDArray[np.intp] = np.flatnonzero(np.isnan(totals).any(axis=1))
    missing = np.isnan(leaves[gone])
    if gone.size:
        counts[gone] -= np.count_nonzero(missing, axis=2)
        leaves = leaves.copy()
        leaves[gone] = np.where(missing, 0.0, leaves[gone])
        batches[gone] = _fold(leaves[gone], BATCHES)
        totals[gone] = _fold(batches[gone])
    apart = leaves - (totals / np.maximum(counts, 1.0))[:, :, np.newaxis]
    if gone.size:
        apart[gone] = np.where(missing, 0.0, apart[gone])
    if short:
        apart[:, -1, LEAF - short :] = 0.0
    products = _fold(np.stack([apart[one] * apart[other] for one, other in pairs])) if pairs else None
    np.multiply(apart, apart, out=apart)
    squares = _fold(apart)
    if products is not None:
        squares = np.concatenate([squares, products])
    return _Level(counts, totals, squares, batches[:batched])


def _merge(one: _Level, other: _Level, pairs: Sequence[tuple[int, int]]) -> _Level:
    """Merge nodes with their neighbours: sums add up; between the two means lies what the squares lack."""
    counts = one.counts + other.counts
    gap = other.totals / np.maximum(other.counts, 1.0) - one.totals / np.maximum(one.counts, 1.0)
    weight = one.counts * other.counts / np.maximum(counts, 1.0)
    between = weight * (gap * gap)
    if pairs:
        left, right = (list(side) for side in zip(*pairs, strict=True))
        between = np.concatenate([between, weight[left] * (gap[left] * gap[right])])
    squares = (one.squares + other.squares) + between
    return _Level(counts, one.totals + other.totals, squares, one.batches + other.batches)


def _are_siblings(one: Node, other: Node) -> bool:
    return one.level == other.level and one.number % 2 == 0 and other.number == one.number + 1


def _merge_two(one: Node, other: Node, pairs: Sequence[tuple[int, int]]) -> Node:
    merged = _merge(_level_of(one), _level_of(other), pairs)
    # The level of a node that closes a sample says nothing; that of two siblings' parent does.
    return merged.node(0, one.level + 1, one.number // 2)


def _level_of(node: Node) -> _Level:
    return _Level(*(array[:, np.newaxis] for array in (node.counts, node.totals, node.squares, node.batches)))
