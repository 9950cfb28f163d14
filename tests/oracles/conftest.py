# SPDX-License-Identifier: Apache-2.0
"""Tests of this folder share modules of their own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
