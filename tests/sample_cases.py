"""Compare core and oracle on a few random scenarios of each regime: `python tests/sample_cases.py COUNT`.

What tests/test_oracle.py does at length, for builds too slow for that: under sanitizers in .ci/same_bits.
"""

from __future__ import annotations

import sys

import cases
import hypothesis
import test_oracle


def main(examples: int) -> None:
    hypothesis.settings.register_profile("few", derandomize=True, deadline=None, database=None)
    hypothesis.settings.load_profile("few")
    for regimes, replay in ((cases.REGIMES, False), (cases.REPLAY_REGIMES, True)):
        scenarios = test_oracle.compare_generated(regimes, replay, examples, wanted=())
        if scenarios < len(regimes):
            raise SystemExit(f"error: {scenarios} scenarios of {len(regimes)} regimes")
        print(f"{scenarios} scenarios: core and oracle are the same")


if __name__ == "__main__":
    main(int(sys.argv[1]))
