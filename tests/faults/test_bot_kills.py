"""A bot killed with -9 at random moments loses no acknowledged fill, counts none twice, and ends the same.

Ten kills unless told otherwise, always the same ten; ``--kills 100`` kills a hundred times, as does
``python tests/faults/bot_kills.py --kills 100``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no kill -9"),
]


def test_no_acknowledged_fill_is_lost_or_counted_twice(pytestconfig: pytest.Config) -> None:
    kills = pytestconfig.getoption("--kills")
    script = Path(__file__).with_name("bot_kills.py")
    done = subprocess.run(
        [sys.executable, script, "--kills", str(kills)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{kills} kills in ")
    assert done.stdout.endswith("none lost, none twice\n")
