cdef class PolicyCall:
    """A policy's Python, for one run on one thread; an exception of its own waits here for the run's end.

    Written in Python, it is called to quote, and the rows are its own: an array that it keeps outlives the run.
    Compiled, it is called to say what its function's failure means.
    """

    cdef object function, error
    cdef double[:, ::1] rows

    def __init__(self, function, rows):
        self.function = function
        self.error = None
        self.rows = rows


cdef bint call_python(void* call, Py_ssize_t step, int failed) noexcept with gil:
    cdef PolicyCall policy = <PolicyCall>call
    try:
        policy.function(step, failed)
    except BaseException as error:
        policy.error = error
        return False
    return True
