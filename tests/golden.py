"""Print the hashes of the panel: what data/golden.json has to hold for a new major version.

Only a major version may change them. From the root of the clone:

    python tests/golden.py > tests/data/golden.json
"""

from __future__ import annotations

import json

import panel

if __name__ == "__main__":
    print(json.dumps({name: panel.digest(name) for name in panel.SCENARIOS}, indent=2))
