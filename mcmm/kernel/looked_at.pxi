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
    draw(drawn, seed, path, quad, label)
    return [[drawn[k][i] for i in range(LANES)] for k in range(4)]


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
