# Counts of a sample in log-spaced bins: the sketch of mcmm/sketch.py. Included by _core.pyx.
#
# Like the sums (sums.pxi) not a rule of the market, but what is done with every number that one makes. Integers only:
# the order of counting makes no difference.


cdef inline int64_t bits_beside(double value) noexcept nogil:
    """Return the bits of a number without its sign."""
    cdef double beside = fabs(value)
    cdef int64_t found
    memcpy(&found, &beside, sizeof(double))
    return found


cdef inline int64_t bin_of(double value, int shift, int64_t below) noexcept nogil:
    """Return a number's bin: 0 near 0, k for the k-th above it, -k below."""
    cdef int64_t key = max((bits_beside(value) >> shift) - below, <int64_t>0)
    return -key if value < 0.0 else key


cdef void find_bins(
    const double* sample, Py_ssize_t size, int shift, int64_t below, int64_t* lowest, int64_t* highest
) noexcept nogil:
    """Find the lowest and the highest bin of a sample; NaN has none."""
    cdef Py_ssize_t i
    cdef double low = INFINITY, high = -INFINITY
    for i in range(size):
        low = sample[i] if sample[i] < low else low
        high = sample[i] if sample[i] > high else high
    lowest[0], highest[0] = 0, -1
    if low <= high:
        lowest[0], highest[0] = bin_of(low, shift, below), bin_of(high, shift, below)


cdef void count_in_bins(
    const double* sample, Py_ssize_t size, int shift, int64_t below, int steps, int64_t lowest, int64_t* bins
) noexcept nogil:
    """Count a sample's numbers in bins from the lowest on, and sum up how far they lie beyond the bins' edges."""
    cdef Py_ssize_t i
    cdef int64_t key, within = (<int64_t>1 << shift) - 1
    for i in range(size):
        if sample[i] != sample[i]:
            continue
        key = bin_of(sample[i], shift, below)
        bins[2 * (key - lowest)] += 1
        bins[2 * (key - lowest) + 1] += (bits_beside(sample[i]) & within) >> (shift - steps) if key else 0


def sketch_counts(const double[::1] sample, int shift, int64_t below, int steps):
    """Count a sample's numbers by bin: the lowest bin, and an array of shape (bins, 2) of counts and distances.

    ``shift`` and ``below`` make a bin's number of a number's bits, ``steps`` are the bits of a distance within one.
    """
    import numpy as np
    cdef Py_ssize_t size = sample.shape[0]
    cdef int64_t lowest = 0, highest = -1
    if size:
        with nogil:
            find_bins(&sample[0], size, shift, below, &lowest, &highest)
    found = np.zeros((highest - lowest + 1, 2), dtype=np.int64)
    cdef int64_t[:, ::1] bins = found
    if highest >= lowest:
        with nogil:
            count_in_bins(&sample[0], size, shift, below, steps, lowest, &bins[0, 0])
    return lowest, found
