# Draws and elementary functions, one number at a time: for plans, and for tests to look at. Included by _core.pyx.

def stream(int most=512):
    """Choose the version of the draws' code, none wider than `most` bits (0: plain C), and say which it is."""
    return choose_ars(most).decode()


stream()


def words(uint64_t seed, uint64_t path, uint64_t quad, uint64_t label):
    """The four 32-bit words of one block."""
    return keyed_words(seed, 0, path, quad | label << 32)


def keyed_words(uint64_t key_low, uint64_t key_high, uint64_t low, uint64_t high, int rounds=MCMM_ARS_ROUNDS):
    """ARS4x32 of any counter, key and number of rounds."""
    cdef uint32_t w[4]
    ars(key_low, key_high, low, high, rounds, w)
    return w[0], w[1], w[2], w[3]


def draws(uint64_t seed, uint64_t path, uint64_t quad, uint64_t label):
    """The draws of four steps, BLOCK paths each, as a block of paths has them."""
    cdef int32_t drawn[4][LANES]
    cdef int32_t* rows = &drawn[0][0]
    cdef uint64_t high = quad | label << 32
    cdef uint32_t begun[4 * LANES]
    begin_lanes(seed, path, begun, LANES)
    ars_begun(seed, begun, &high, &rows, 1, LANES)
    return [[drawn[k][i] for i in range(LANES)] for k in range(4)]


def draw_alone(Plan plan, uint64_t seed, Py_ssize_t paths):
    """Make the draws of that many paths, to whole blocks, and nothing else: for benchmarks."""
    cdef const Settings* s = &plan.settings
    cdef Py_ssize_t block, step
    cdef Windows w
    cdef char* memory = <char*>malloc(block_size(s) + 64)
    if memory == NULL:
        raise MemoryError
    cdef Block* b = place_block(<char*>aligned(memory), s, &w)
    with nogil:
        for block in range((paths + LANES - 1) // LANES):
            begin_lanes(seed, block * LANES, b.begun, LANES)
            for step in range(0, s.steps, 4):
                draw_steps(b, s, &plan.tables, seed, step >> 2, False)
        free(memory)


def guided_sizes(const int32_t[::1] thresholds, int32_t[:, :, ::1] draws):
    """Put in the place of draws, of shape (any, 4, BLOCK), the sizes that a guide of the thresholds finds for them."""
    cdef SizeGuide guide
    cdef int32_t drawn[4][LANES]
    cdef Py_ssize_t each
    guide_sizes(&guide, &thresholds[0], thresholds.shape[0])
    for each in range(draws.shape[0]):
        memcpy(drawn, &draws[each, 0, 0], sizeof(drawn))
        guide_to_sizes(<int32_t(*)[LANES]>&draws[each, 0, 0], drawn, &guide, &thresholds[0])


def guided_size_of(const int32_t[::1] thresholds, int32_t draw):
    """The size of one draw by that guide, as in an order book."""
    cdef SizeGuide guide
    guide_sizes(&guide, &thresholds[0], thresholds.shape[0])
    return drawn_size(&guide, &thresholds[0], draw)


def uniform_of(int32_t draw):
    """The uniform number of a draw."""
    return uniform(draw)


def normals_of(int32_t radius_draw, int32_t angle_draw):
    """The two normals of two draws."""
    cdef Pair pair = normal_pair(radius_draw, angle_draw)
    return pair.first, pair.second


def single_exponential(float x):
    """e^x in single precision as the core computes it."""
    return single.single_exponential(x)


def single_logistic(float x):
    """1 / (1 + e^-x) in single precision as the core computes it."""
    return single.single_logistic(x)


def exponential(double x):
    """e^x as the core computes it."""
    return special.exponential(x)


def exponential_less_one(double x):
    """e^x - 1 as the core computes it."""
    return special.exponential_less_one(x)


def logarithm_of_one_plus(double x):
    """ln(1 + x) as the core computes it."""
    return special.logarithm_of_one_plus(x)


def logarithm(double x):
    """ln x as the core computes it."""
    return special.logarithm(x)


def logit(double p):
    """The log-odds of p as the core computes them, held to +-36."""
    return fair.logit_of(p)


def normal_cdf(double x):
    """Phi(x) as the core computes it."""
    return special.normal_cdf(x)


def normal_quantile(double p):
    """The inverse of Phi as the core computes it."""
    return special.normal_quantile(p)


def density_at_quantile(double p):
    """phi(Phi^-1(p)) as the core computes it, for the standard deviation of a threshold's next step."""
    return single.density_at_quantile(p)
