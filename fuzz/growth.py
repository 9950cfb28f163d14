# SPDX-License-Identifier: Apache-2.0
"""When a worker has leaked so much that another one is worth its start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Growth:
    """The memory of one worker, from case to case. All in bytes.

    What it holds after its first case, when everything is loaded, is what it needs. It is replaced when it has leaked
    as much again, for it then costs the machine as much as two; or when half of the room from there to its cap is gone,
    so that no case gets less than the other half.
    """

    limit: int  # the cap
    baseline: int = 0  # after the first case

    def enough(self, memory: int) -> bool:
        """Whether a worker that holds so much after a case is to be replaced."""
        if not self.baseline:
            self.baseline = memory
        return memory > self.baseline + min(self.baseline, (self.limit - self.baseline) // 2)
