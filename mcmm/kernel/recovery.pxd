"""Connection and recovery: model.md section 2, phase 1, and rho of section 4."""
from mcmm.kernel.special cimport maximum


cdef inline double outage_after(double down, bint drops, double outage_steps) noexcept nogil:
    """Outage steps left, this one included. The step back is connected and cannot drop again."""
    cdef double dropped = outage_steps if drops else 0.0
    return down - 1.0 if down > 0.0 else dropped


cdef inline double recovery_multiplier(double ramp, double ramp_extra, double ramp_steps) noexcept nogil:
    """rho on the j-th quoted step (j = ramp) after coming back; ramp_extra = conservative_multiplier - 1."""
    return 1.0 + ramp_extra * maximum(1.0 - ramp / ramp_steps, 0.0)
