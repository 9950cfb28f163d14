# SPDX-License-Identifier: Apache-2.0
"""Makes the findings made by hand importable by the tests of what people read."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
