# SPDX-License-Identifier: Apache-2.0
"""A history over nights as a chart of columns: where everything goes, in pixels. The template writes it down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fuzz.report.night import Past, Standing

NIGHTS = 45  # drawn; the table has all
STEP = 18.0  # least from column to column; few are wider
WIDEST = 44.0
WIDTH = 640.0  # of all columns, as far as they may be so wide
HEIGHT = 120.0  # of the columns
SPEED = 40.0  # height of the line of cases per second
GAP = 26.0  # between the two, with the dates
LEFT = 34.0  # for the numbers
# Failing ones stand on each other, what is fixed hangs below.
STACKED = (Standing.KNOWN, Standing.PENDING, Standing.NEW, Standing.REGRESSED)


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of a column."""

    kind: str  # a standing, or environment
    x: float
    y: float
    width: float
    height: float
    said: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Text, centred or ending at x."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    width: float
    height: float
    bars: tuple[Bar, ...]
    lines: tuple[float, ...]  # y of the horizontal lines; the last one is the base of the columns
    numbers: tuple[Mark, ...]
    dates: tuple[Mark, ...]
    speed: tuple[tuple[float, float], ...]  # corners of the line
    speed_at: float  # y of its base


def chart(past: Sequence[Past]) -> Chart:
    """Lay out the last nights."""
    shown = list(past)[-NIGHTS:]
    step = max(STEP, min(WIDEST, WIDTH / max(1, len(shown))))
    column = step * 0.7
    failing = [sum(night.standings.get(standing, 0) for standing in STACKED) for night in shown]
    fixed = [night.standings.get(Standing.FIXED, 0) for night in shown]
    top = _round_up(max([1, *failing]))
    per = HEIGHT / top
    base = 10.0 + HEIGHT
    below = min(max(fixed, default=0) * per, HEIGHT / 2)
    bars: list[Bar] = []
    for number, night in enumerate(shown):
        bars += _column(night, LEFT + number * step, column, base, per, below)
    under = base + below + GAP
    fastest = max([night.throughput for night in shown], default=0.0) or 1.0
    every = max(1, math.ceil(36 / step))
    dates = [
        Mark(LEFT + number * step + column / 2, base + below + 14, night.name[5:10])
        for number, night in enumerate(shown)
        if (len(shown) - 1 - number) % every == 0
    ]
    numbers = [Mark(LEFT - 6, base - value * per + 3.5, str(value)) for value in (0, top // 2, top) if value or top]
    numbers += [Mark(LEFT - 6, under + 8, f"{fastest:.0f}/s")]
    return Chart(
        width=LEFT + max(len(shown), 6) * step + 8,
        height=under + SPEED + 6,
        bars=tuple(bars),
        lines=tuple(base - value * per for value in (top, top // 2, 0)),
        numbers=tuple(dict.fromkeys(numbers)),
        dates=tuple(dates),
        speed=tuple(
            (LEFT + number * step + column / 2, under + SPEED * (1 - night.throughput / fastest))
            for number, night in enumerate(shown)
        ),
        speed_at=under + SPEED,
    )


def _column(night: Past, x: float, width: float, base: float, per: float, below: float) -> list[Bar]:
    bars, y = [], base
    for standing in STACKED:
        if count := night.standings.get(standing, 0):
            y -= count * per
            bars.append(Bar(str(standing), x, y, width, count * per, f"{night.name}: {count} {standing}"))
    if count := night.standings.get(Standing.FIXED, 0):
        height = min(count * per, below)
        bars.append(Bar("fixed", x, base, width, height, f"{night.name}: {count} fixed"))
    if night.environment:
        bars.append(Bar("environment", x, base - 6, width, 6, f"{night.name}: the environment failed"))
    return bars


def _round_up(number: int) -> int:
    """To an even number, or a round one."""
    step = 2 if number < 20 else 10 ** (len(str(number)) - 1)
    return -(-number // step) * step
