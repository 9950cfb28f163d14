# SPDX-License-Identifier: Apache-2.0
"""What narrows the blame for a finding, as plain data: boundaries between passing and failing, and controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracles.outcome import Verdict


@dataclass(frozen=True, slots=True)
class Boundary:
    """One number of a reduced case, varied while all others stay."""

    what: str  # for example: dim 0 of x0, largest index in x1, devices along x
    samples: tuple[tuple[int, bool], ...]  # (value, whether the case fails as the finding does), by value

    @property
    def monotone(self) -> bool:
        """Whether every larger value fails once one does."""
        failing = [fails for _, fails in self.samples]
        return failing == sorted(failing)

    @property
    def smallest_failing(self) -> int | None:
        return next((value for value, fails in self.samples if fails), None)

    @property
    def largest_passing(self) -> int | None:
        return next((value for value, fails in reversed(self.samples) if not fails), None)

    def __str__(self) -> str:
        if not self.monotone:
            points = ", ".join(f"{value} {'fails' if fails else 'passes'}" for value, fails in self.samples)
            return f"{self.what}: not monotone: {points}"
        last = self.samples[-1][0] if self.samples else 0
        if self.smallest_failing is None:
            return f"{self.what}: passes up to {last}"
        if self.largest_passing is None:
            return f"{self.what}: fails at every value tried, {self.smallest_failing} to {last}"
        return f"{self.what}: fails from {self.smallest_failing}; passes to {self.largest_passing}"

    def to_plain(self) -> dict[str, Any]:
        return {"what": self.what, "samples": [list(sample) for sample in self.samples]}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Boundary:
        return cls(data["what"], tuple((value, fails) for value, fails in data["samples"]))


@dataclass(frozen=True, slots=True)
class Control:
    """The same computation in another setting; one that passes shows what the failure needs."""

    name: str  # for example: unsharded, as one_hot, optimization_level 1, on cpu
    verdict: Verdict
    detail: str = ""  # why it is not a pass, or could not run, in one line

    def __str__(self) -> str:
        return f"{self.name} {self.verdict}" + (f" ({self.detail})" if self.detail else "")

    def to_plain(self) -> dict[str, Any]:
        return {"name": self.name, "verdict": str(self.verdict), "detail": self.detail}

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> Control:
        return cls(data["name"], Verdict(data["verdict"]), data["detail"])
