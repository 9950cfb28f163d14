# SPDX-License-Identifier: Apache-2.0
"""Makes the planted faults of this folder, and what they are written with, importable by its tests."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
