# Sums over paths with the same bits however the paths are cut: the tree of mcmm/moments.py. Included by _core.pyx.
#
# Not a rule of the market, but what is done with every number that one makes, so it belongs beside the loops that make
# them. Each addition below is elementwise: no compiler may change the order, and each vector width gives the same bits.

cdef enum:
    LEAF = 256
    BATCHES = 64
    LEVELS = 64                     # no tree is higher
    FEW_LEAVES = 16                 # of so few, to get the GIL back would take longer than to sum them up

# How a row is made of the values: as they are, a difference of two, whether below or above 0, NaN where below 0.
cdef enum:
    AS_IT_IS, DIFFERENCE, NEGATIVE, POSITIVE, UNLESS_NEGATIVE

# The sums of one node; squares has the rows' first and then the pairs', batches those of the first rows.
cdef struct Sums:
    double* counts
    double* totals
    double* squares
    double* batches

cdef struct Shape:
    Py_ssize_t rows
    Py_ssize_t pairs
    Py_ssize_t batched
    const int* pair                 # two rows each

# What a node on the way to the root is.
cdef struct Place:
    Py_ssize_t level
    Py_ssize_t number


cdef inline double fold(double* x) noexcept nogil:
    """Fold BATCHES numbers to one, in place."""
    cdef Py_ssize_t i
    for i in range(32):
        x[i] = x[i] + x[i + 32]
    for i in range(16):
        x[i] = x[i] + x[i + 16]
    for i in range(8):
        x[i] = x[i] + x[i + 8]
    for i in range(4):
        x[i] = x[i] + x[i + 4]
    return (x[0] + x[2]) + (x[1] + x[3])


cdef inline void fold_leaf(const double* x, double* batches) noexcept nogil:
    """Fold a leaf to its batches."""
    cdef Py_ssize_t i
    for i in range(BATCHES):
        batches[i] = (x[i] + x[i + 128]) + (x[i + 64] + x[i + 192])


cdef inline double fold_products(const double* x, const double* y) noexcept nogil:
    """Fold the products of two leaves."""
    cdef double found[BATCHES]
    cdef Py_ssize_t i
    for i in range(BATCHES):
        found[i] = (x[i] * y[i] + x[i + 128] * y[i + 128]) + (x[i + 64] * y[i + 64] + x[i + 192] * y[i + 192])
    return fold(found)


cdef inline void load_row(const double* one, const double* other, int kind, Py_ssize_t paths, double* x) noexcept nogil:
    """Make a row of a leaf, 0 where there is no path."""
    cdef Py_ssize_t i
    if kind == AS_IT_IS:
        for i in range(paths):
            x[i] = one[i]
    elif kind == DIFFERENCE:
        for i in range(paths):
            x[i] = one[i] - other[i]
    elif kind == NEGATIVE:
        for i in range(paths):
            x[i] = 1.0 if one[i] < 0.0 else 0.0
    elif kind == POSITIVE:
        for i in range(paths):
            x[i] = 1.0 if one[i] > 0.0 else 0.0
    else:
        for i in range(paths):
            x[i] = NAN if one[i] < 0.0 else one[i]
    for i in range(paths, LEAF):
        x[i] = 0.0


cdef inline void sum_row(
    double* x, Py_ssize_t paths, double* count, double* total, double* square, double* batches
) noexcept nogil:
    """Sum up a row of a leaf, and leave its deviations in its place."""
    cdef double found[BATCHES]
    cdef bint gone[LEAF]
    cdef Py_ssize_t i, there = 0
    cdef double mean
    for i in range(paths):
        there += x[i] == x[i]
    if there < paths:
        for i in range(LEAF):
            gone[i] = x[i] != x[i]
            x[i] = 0.0 if gone[i] else x[i]
    fold_leaf(x, found)
    if batches != NULL:
        for i in range(BATCHES):
            batches[i] = found[i]
    count[0] = <double>there
    total[0] = fold(found)
    mean = total[0] / max(count[0], 1.0)
    for i in range(LEAF):
        x[i] = x[i] - mean
    if there < paths:
        for i in range(LEAF):
            x[i] = 0.0 if gone[i] else x[i]
    for i in range(paths, LEAF):
        x[i] = 0.0
    square[0] = fold_products(x, x)


cdef void merge_sums(const Sums* one, const Sums* other, Sums* out, const Shape* shape) noexcept nogil:
    """Merge a node with its neighbour, in place of the first if asked: what the squares lack lies between the means."""
    cdef Py_ssize_t row, pair
    cdef double n, m, weight, gap, gap_2
    for pair in range(shape.pairs):  # before the rows' own sums may be written over
        row = shape.pair[2 * pair]
        weight = one.counts[row] * other.counts[row] / max(one.counts[row] + other.counts[row], 1.0)
        gap = other.totals[row] / max(other.counts[row], 1.0) - one.totals[row] / max(one.counts[row], 1.0)
        row = shape.pair[2 * pair + 1]
        gap_2 = other.totals[row] / max(other.counts[row], 1.0) - one.totals[row] / max(one.counts[row], 1.0)
        row = shape.rows + pair
        out.squares[row] = (one.squares[row] + other.squares[row]) + weight * (gap * gap_2)
    for row in range(shape.rows):
        n, m = one.counts[row], other.counts[row]
        gap = other.totals[row] / max(m, 1.0) - one.totals[row] / max(n, 1.0)
        weight = n * m / max(n + m, 1.0)
        out.squares[row] = (one.squares[row] + other.squares[row]) + weight * (gap * gap)
        out.counts[row] = n + m
        out.totals[row] = one.totals[row] + other.totals[row]
    for row in range(shape.batched * BATCHES):
        out.batches[row] = one.batches[row] + other.batches[row]


cdef inline Sums sums_at(double* at, const Shape* shape) noexcept nogil:
    """Lay out a node's sums, one kind after the other."""
    cdef Sums found
    found.counts = at
    found.totals = found.counts + shape.rows
    found.squares = found.totals + shape.rows
    found.batches = found.squares + shape.rows + shape.pairs
    return found


cdef Shape shape_of(Py_ssize_t rows, Py_ssize_t batched, const int[:, ::1] pairs):
    """Say what a node's sums are of."""
    cdef Shape found
    found.rows, found.pairs, found.batched = rows, pairs.shape[0], batched
    found.pair = &pairs[0, 0] if pairs.shape[0] else NULL
    return found


cdef Sums sums_of(
    const double[::1] counts, const double[::1] totals, const double[::1] squares, const double[:, ::1] batches
):
    """Point at the arrays of a node; what was read from a file may not be written."""
    cdef Sums found
    found.counts = <double*>&counts[0]
    found.totals = <double*>&totals[0]
    found.squares = <double*>&squares[0]
    found.batches = <double*>&batches[0, 0] if batches.shape[0] else NULL
    return found


cdef Py_ssize_t sum_leaves(
    const double[:, ::1] values, const int[:, ::1] rows, const int[:, ::1] pairs, const Shape* shape,
    Py_ssize_t first_leaf, double[:, ::1] stack, double[:, ::1] x, Place* places,
) noexcept nogil:
    """Sum up leaf after leaf, two nodes becoming one as soon as they are neighbours; return how many are left."""
    cdef Py_ssize_t leaf, row, lanes, begin, k, top = 0, paths = values.shape[1]
    cdef Sums node, before
    for leaf in range((paths + LEAF - 1) // LEAF):
        begin = leaf * LEAF
        lanes = min(<Py_ssize_t>LEAF, paths - begin)
        node = sums_at(&stack[top, 0], shape)
        for row in range(shape.rows):
            load_row(&values[rows[row, 1], begin], &values[rows[row, 2], begin], rows[row, 0], lanes, &x[row, 0])
            sum_row(&x[row, 0], lanes, node.counts + row, node.totals + row, node.squares + row,
                    node.batches + row * BATCHES if row < shape.batched else NULL)
        for k in range(shape.pairs):
            node.squares[shape.rows + k] = fold_products(&x[pairs[k, 0], 0], &x[pairs[k, 1], 0])
        places[top].level, places[top].number = 0, first_leaf + leaf
        top += 1
        while (top > 1 and places[top - 1].level == places[top - 2].level and not places[top - 2].number & 1
               and places[top - 1].number == places[top - 2].number + 1):
            before = sums_at(&stack[top - 2, 0], shape)
            node = sums_at(&stack[top - 1, 0], shape)
            merge_sums(&before, &node, &before, shape)
            top -= 1
            places[top - 1].level += 1
            places[top - 1].number >>= 1
    return top


def sum_paths(const double[:, ::1] values, const int[:, ::1] rows, const int[:, ::1] pairs, Py_ssize_t batched,
              Py_ssize_t first_leaf):
    """Sum up a range of paths: a list of (level, number, counts, totals, squares, batches), as few as there can be.

    ``rows`` has the kind of each row and the two places in ``values`` that it is made of.
    """
    import numpy as np
    cdef Py_ssize_t count = rows.shape[0], leaves = (values.shape[1] + LEAF - 1) // LEAF, depth = 1, top, k
    cdef Shape shape = shape_of(count, batched, pairs)
    cdef Place places[LEVELS]
    if not count or not leaves:
        return []
    while leaves >> depth:
        depth += 1
    # One that is new, and those that wait for a neighbour: on the right, and where the range does not begin a tree.
    found = np.empty((1 + (depth if not first_leaf else 2 * depth), 3 * count + shape.pairs + batched * BATCHES))
    cdef double[:, ::1] stack = found
    cdef double[:, ::1] x = np.empty((count, LEAF))
    if leaves > FEW_LEAVES:
        with nogil:
            top = sum_leaves(values, rows, pairs, &shape, first_leaf, stack, x, places)
    else:
        top = sum_leaves(values, rows, pairs, &shape, first_leaf, stack, x, places)
    made = []
    for k in range(top):
        sums = found[k].copy()
        made.append((
            places[k].level, places[k].number, sums[:count], sums[count:2 * count],
            sums[2 * count:3 * count + shape.pairs], sums[3 * count + shape.pairs:].reshape(batched, BATCHES),
        ))
    return made


def sum_neighbours(one, other, const int[:, ::1] pairs):
    """Merge a node with its neighbour, each (counts, totals, squares, batches), and return the same of both."""
    import numpy as np
    merged = tuple(np.empty_like(array) for array in one)
    cdef Sums left = sums_of(one[0], one[1], one[2], one[3])
    cdef Sums right = sums_of(other[0], other[1], other[2], other[3])
    cdef Sums out = sums_of(merged[0], merged[1], merged[2], merged[3])
    cdef Shape shape = shape_of(len(one[0]), len(one[3]), pairs)
    merge_sums(&left, &right, &out, &shape)
    return merged


def sum_whole(const double[:, ::1] values, const int[:, ::1] rows, const int[:, ::1] pairs, Py_ssize_t batched,
              double[::1] out):
    """Sum up a sample from its first path to its last, write the root's counts, totals, squares and batches to ``out``
    one after the other, and return its level.

    ``rows`` as for `sum_paths`; a path or more.
    """
    import numpy as np
    cdef Py_ssize_t leaves = (values.shape[1] + LEAF - 1) // LEAF, depth = 1, top, k
    cdef Shape shape = shape_of(rows.shape[0], batched, pairs)
    cdef Place places[LEVELS]
    cdef Sums before, node
    while leaves >> depth:
        depth += 1
    cdef double[:, ::1] stack = np.empty((1 + depth, out.shape[0]))
    cdef double[:, ::1] x = np.empty((rows.shape[0], LEAF))
    if leaves > FEW_LEAVES:
        with nogil:
            top = sum_leaves(values, rows, pairs, &shape, 0, stack, x, places)
    else:
        top = sum_leaves(values, rows, pairs, &shape, 0, stack, x, places)
    # What has no neighbour yet rises as it is, so the small nodes at the end are merged first.
    for k in range(top - 2, -1, -1):
        before, node = sums_at(&stack[k, 0], &shape), sums_at(&stack[k + 1, 0], &shape)
        merge_sums(&before, &node, &before, &shape)
    memcpy(&out[0], &stack[0, 0], out.shape[0] * sizeof(double))
    return places[0].level + (top > 1)


def tree_sums(const double[:, ::1] values, double[::1] out):
    """Sum each row along the tree."""
    cdef Py_ssize_t row, leaf, paths = values.shape[1], leaves = (paths + LEAF - 1) // LEAF, top, merged
    cdef double x[LEAF]
    cdef double batches[BATCHES]
    cdef double stack[LEVELS]
    cdef double total
    with nogil:
        for row in range(values.shape[0]):
            top = 0
            for leaf in range(leaves):
                load_row(&values[row, leaf * LEAF], NULL, AS_IT_IS, min(<Py_ssize_t>LEAF, paths - leaf * LEAF), x)
                fold_leaf(x, batches)
                stack[top] = fold(batches)
                top += 1
                merged = leaf + 1       # two neighbours for each 0 at its end
                while not merged & 1:
                    stack[top - 2] = stack[top - 2] + stack[top - 1]
                    top -= 1
                    merged >>= 1
            total = stack[top - 1] if top else 0.0
            while top > 1:
                total = stack[top - 2] + total
                top -= 1
            out[row] = total + 0.0      # a sum of negative zeros is 0: the padding adds one or not
