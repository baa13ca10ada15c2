"""``python -m mcmm``: the same command as ``mcmm``."""

from __future__ import annotations

import sys

from mcmm.cli import main

if __name__ == "__main__":
    sys.exit(main())
