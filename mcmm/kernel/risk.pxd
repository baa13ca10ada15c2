"""Marks, drawdowns, breakers and unwinding: model.md section 6."""
from mcmm.kernel.special cimport absolute, bits_of, clip, double_of, maximum


cdef inline double pnl_at(
    double cash, double unit, double unwind_cash, double inventory, double mark, double fees
) noexcept nogil:
    """cash + inventory * mark - fees; cash in units of the grid, unwind_cash in dollars."""
    return ((cash * unit + unwind_cash) + inventory * mark) - fees


cdef inline double exposure_at(double inventory, double mark) noexcept nogil:
    """pnl less the pnl at the worse outcome."""
    return inventory * mark if inventory > 0.0 else absolute(inventory) * (1.0 - mark)


cdef inline double highest_exposure(double before, double inventory, double mark) noexcept nogil:
    """The larger of `before`, which is not below 0, and exposure_at, for a mark in [0, 1].

    Of inventory * mark and -inventory * (1 - mark) it is the one that is not below 0: no need to ask which.
    """
    return maximum(maximum(before, inventory * mark), inventory * (mark - 1.0))


cdef inline double drawdown_from(double reference, double pnl) noexcept nogil:
    return maximum(reference - pnl, 0.0)


cdef inline double allowed_drawdown(double drawdown_limit) noexcept nogil:
    """The largest that does not trip a breaker: of positive numbers the bits are ordered as they are."""
    return double_of(bits_of(drawdown_limit) - 1)


cdef inline double unwind_price(
    double p, double inventory, double slippage, double floor, double ceiling
) noexcept nogil:
    """p - slippage for a sale, p + slippage for a purchase, held to [0, 1] on bounded processes."""
    return clip(p - slippage if inventory > 0.0 else p + slippage, floor, ceiling)
