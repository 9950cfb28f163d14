# SPDX-License-Identifier: Apache-2.0
"""Whether cases that are chosen by what the ones before them showed find more than cases as they are drawn.

    python tests/benchmarks/scheduling.py RECORD [--seeds 0,1,2,3,4] [--at-once] [--other RECORD]

Replays a record of `scheduling_record.py`. A scheduler sees the cases of a seed in their order, and says of each with
which chance it runs, from the cases that ran before; never below a quarter, so that nothing starves. It knows of as
many rounds as a campaign does when it plans one (`--at-once`: all but the last). Every scheduler sees the same cases,
so what differs is its choice. `--other` compares with what another generator drew, without a scheduler.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from scheduling_record import COMMON_FAULTS, EVERY_FAULT

from fuzz.campaign import EVIDENCE, ROUND, planned_after
from fuzz.strategies.cases import WHOLE_PERCENT
from oracles.faults import FAULTS

FLOOR = 0.25
HALF_LIFE = 256  # cases after which what an arm yielded counts half
REVISIT = 0.1  # `fuzz.settings`
# Times that each seed is replayed with other luck: which cases a scheduler happens to leave out decides more than what
# it is, and one replay would show either as the better.
REPEATS = 20
NUMBERS = (5, 8, 10, 12, 15, 18, 20, 25)  # of buckets

Entry = Mapping[str, Any]  # one line of a record
Chance = Callable[[Entry], float]  # that a case runs
Scheduler = Callable[[Sequence[Entry]], Chance]  # from what ran
Arm = Callable[[Entry], Hashable]
Reward = Callable[[Entry, set[str]], float]  # what is new in a case, given what was seen; adds to it


# --- schedulers ------------------------------------------------------------------------------------------------------


def as_drawn(_: Sequence[Entry]) -> Chance:
    return lambda entry: 1.0


def new_in_stages(entry: Entry, seen: set[str]) -> float:
    """Features of the captured stages. The root, because one new op brings many pairs with it."""
    new = set(entry.get("stages", ())) - seen
    seen |= new
    return math.sqrt(len(new))


def new_bucket(entry: Entry, seen: set[str]) -> float:
    bucket = entry.get("bucket")
    if not bucket or bucket in seen:
        return 0.0
    seen.add(bucket)
    return 1.0


def yielding(arm: Arm, reward: Reward) -> Scheduler:
    """Arms by what they yielded per case, of late; the best run always, arms that were hardly tried as the mean."""

    def scheduler(ran: Sequence[Entry]) -> Chance:
        seen: set[str] = set()
        won: defaultdict[Hashable, float] = defaultdict(float)
        tried: defaultdict[Hashable, float] = defaultdict(float)
        for age, entry in zip(range(len(ran), 0, -1), ran, strict=True):
            weight = 0.5 ** (age / HALF_LIFE)
            won[arm(entry)] += weight * reward(entry, seen)
            tried[arm(entry)] += weight
        mean = sum(won.values()) / sum(tried.values()) if tried else 0.0
        if not mean:
            return lambda entry: 1.0
        return lambda entry: _bounded((won[arm(entry)] + 2 * mean) / (tried[arm(entry)] + 2) / mean / 1.5)

    return scheduler


def thompson(arm: Arm) -> Scheduler:
    """Arms by a draw from what is believed of their chance of a new bucket."""

    def scheduler(ran: Sequence[Entry]) -> Chance:
        seen: set[str] = set()
        wins: Counter[Hashable] = Counter()
        losses: Counter[Hashable] = Counter()
        for entry in ran:
            (wins if new_bucket(entry, seen) else losses)[arm(entry)] += 1

        def chance(entry: Entry) -> float:
            stream = Random(f"{entry['seed']}:{entry['number']}")
            arms = sorted({*wins, *losses, arm(entry)}, key=str)
            drawn = {each: stream.betavariate(1 + wins[each], 5 + losses[each]) for each in arms}
            return _bounded(drawn[arm(entry)] / statistics.median(drawn.values()))

        return chance

    return scheduler


def rarely_run(arm: Arm) -> Scheduler:
    """Arms in inverse proportion to how often they ran."""

    def scheduler(ran: Sequence[Entry]) -> Chance:
        runs = Counter(map(arm, ran))
        return lambda entry: _bounded(len(ran) / max(1, len(runs)) / max(1, runs[arm(entry)]))

    return scheduler


def uncovered(times: int) -> Scheduler:
    """Cases with an op and sharding (`fuzz.coverage`) that ran fewer times than this."""

    def scheduler(ran: Sequence[Entry]) -> Chance:
        runs = Counter(use for entry in ran for use in uses(entry))
        return lambda entry: _bounded(float(any(runs[use] < times for use in uses(entry))))

    return scheduler


def not_dull(ran: Sequence[Entry]) -> Chance:
    """Not cases with a use that the compiler mostly refuses, or fails on in a way that is known."""
    seen: set[str] = set()
    runs: Counter[str] = Counter()
    dull: Counter[str] = Counter()
    for entry in ran:
        old = not new_bucket(entry, seen) and (entry.get("bucket") or entry["verdict"] == "UNSUPPORTED")
        for use in uses(entry):
            runs[use] += 1
            dull[use] += bool(old)
    return lambda entry: _bounded(1 - max((dull[use] / (runs[use] + 1) for use in uses(entry)), default=0.0))


def fixed(**percent: int) -> Scheduler:
    """By the layout alone, whatever ran."""
    return lambda ran: lambda entry: percent.get(entry["layout"], 100) / 100


def uses(entry: Entry) -> set[str]:
    """Op and sharding of each feature, without dtype and boundary."""
    return {"|".join(feature.split(" | ")[::2]) for feature in entry["features"]}


def _bounded(chance: float) -> float:
    return max(FLOOR, min(1.0, chance))


def by_op(entry: Entry) -> Hashable:
    return (entry["arm"],)


def by_mesh(entry: Entry) -> Hashable:
    return entry["arm"].split()[0], entry["mesh"]


def by_layout(entry: Entry) -> Hashable:
    return entry["arm"].split()[0], entry["layout"]


SCHEDULERS: dict[str, Scheduler] = {
    "as drawn": as_drawn,
    "motif or op, new in stages": yielding(by_op, new_in_stages),
    "motif or op, new bucket": yielding(by_op, new_bucket),
    "mesh, new in stages": yielding(by_mesh, new_in_stages),
    "mesh, new bucket": yielding(by_mesh, new_bucket),
    "layout, new in stages": yielding(by_layout, new_in_stages),
    "layout, new bucket": yielding(by_layout, new_bucket),
    "layout, new bucket, Thompson": thompson(by_layout),
    "motif or op, rarely run": rarely_run(by_op),
    "use that did not run yet": uncovered(1),
    "use that ran less than 4 times": uncovered(4),
    "use that is not dull": not_dull,
    "fixed: few whole": fixed(whole=WHOLE_PERCENT),
    "fixed: few whole, less aligned": fixed(whole=WHOLE_PERCENT, aligned=70),
}


# --- replay ----------------------------------------------------------------------------------------------------------


def load(path: Path) -> dict[int, list[Entry]]:
    """By seed, the cases in their order."""
    found: dict[int, dict[int, Entry]] = defaultdict(dict)
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        found[entry["seed"]][entry["number"]] = entry
    return {seed: [cases[number] for number in sorted(cases)] for seed, cases in found.items()}


def replay(
    cases: Iterable[Entry], scheduler: Scheduler, at_once: bool = False, revisit: float = REVISIT, repeat: int = 0
) -> list[Entry]:
    """The cases that run: not what looks like a known bucket, as in a campaign, and what the scheduler chooses."""
    ran: list[Entry] = []
    plans: dict[int, tuple[set[str], Chance]] = {}
    for entry in cases:
        number = entry["number"] // ROUND
        settled = number - 1 if at_once else settled_before(number)
        if settled not in plans:
            before = [each for each in ran if each["number"] < (settled + 1) * ROUND]
            plans[settled] = avoided(before), scheduler(before)
        known, chance = plans[settled]
        if not known.isdisjoint(entry["patterns"]) and _luck("revisit", entry) >= revisit:
            continue
        if _luck(f"schedule {repeat}", entry) < chance(entry):
            ran.append(entry)
    return ran


@lru_cache
def settled_before(number: int) -> int:
    """The last round that is settled when this one is planned."""
    return next(settled for settled in range(-1, number) if number in planned_after(settled))


def avoided(ran: Sequence[Entry]) -> set[str]:
    """Buckets that were found and whose pattern is not too broad."""
    tried: Counter[tuple[str, bool]] = Counter((name, "bucket" in entry) for entry in ran for name in entry["patterns"])
    return {
        name
        for name in {entry["bucket"] for entry in ran if "bucket" in entry}
        if tried[name, True] + tried[name, False] < EVIDENCE or tried[name, True] >= tried[name, False]
    }


def _luck(salt: str, entry: Entry) -> float:
    digest = hashlib.sha256(f"{salt}:{entry['seed']}:{entry['number']}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / (1 << 32)


# --- what they found -------------------------------------------------------------------------------------------------


def buckets(ran: Iterable[Entry]) -> list[int]:
    """How many distinct ones after each case."""
    seen: set[str] = set()
    curve = []
    for entry in ran:
        new_bucket(entry, seen)
        curve.append(len(seen))
    return curve


def until(curve: Sequence[int], number: int) -> float:
    return next((position + 1 for position, found in enumerate(curve) if found >= number), math.inf)


def faults(ran: Iterable[Entry]) -> dict[str, int]:
    """Cases until each planted fault shows."""
    first: dict[str, int] = {}
    for position, entry in enumerate(ran):
        for name in entry.get("faults", ()):
            first.setdefault(name, position + 1)
    return first


@dataclass(frozen=True, slots=True)
class Comparison:
    """One seed, as drawn and with a scheduler, over as many cases as both have."""

    area: float  # under the curve of buckets, the scheduler's over the other
    buckets: tuple[float, ...]  # logarithm of cases until so many, the same
    faults: tuple[float, ...]  # of cases until each planted fault that both show
    lost: int  # faults that only the cases as drawn show
    gained: int


def compared(plain: Sequence[Entry], chosen: Sequence[Entry]) -> Comparison:
    length = min(len(plain), len(chosen))
    before, after = buckets(plain[:length]), buckets(chosen[:length])
    both = range(3, min(before[-1], after[-1]) + 1)
    was, now = faults(plain[:length]), faults(chosen[:length])
    return Comparison(
        sum(after) / sum(before),
        tuple(math.log(until(after, number) / until(before, number)) for number in both),
        tuple(math.log(now[name] / was[name]) for name in was if name in now),
        len(was.keys() - now.keys()),
        len(now.keys() - was.keys()),
    )


Runs = Mapping[int, Sequence[Sequence[Entry]]]  # of each seed, every repeat

HEADINGS = ("run", "area", "least", "most", "seeds won", "cases to a bucket", "cases to a fault", "faults lost, gained")


def report(plain: Mapping[int, Sequence[Entry]], others: Mapping[str, Runs], console: Console) -> None:
    """Area and cases as ratios to what ran as drawn; less than a seed's own noise is nothing."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for name, runs in others.items():
        every = {seed: [compared(plain[seed], run) for run in repeats] for seed, repeats in runs.items()}
        areas = [statistics.mean(each.area for each in of_seed) for of_seed in every.values()]
        flat = [each for of_seed in every.values() for each in of_seed]
        share = statistics.mean(len(run) / len(plain[seed]) for seed, repeats in runs.items() for run in repeats)
        table.add_row(
            name,
            f"{share:.2f}",
            f"{statistics.mean(areas):.2f}",
            f"{min(areas):.2f}",
            f"{max(areas):.2f}",
            f"{sum(area > 1 for area in areas)}/{len(areas)}",
            _times([ratio for each in flat for ratio in each.buckets]),
            _times([ratio for each in flat for ratio in each.faults]),
            f"-{statistics.mean(each.lost for each in flat):.1f} +{statistics.mean(each.gained for each in flat):.1f}",
        )
    console.print(table)


def _times(logarithms: Sequence[float]) -> str:
    return f"x{math.exp(statistics.mean(logarithms)):.2f}" if logarithms else "-"


def report_buckets(runs: Mapping[str, Runs], console: Console) -> None:
    """Cases until so many buckets, by seed, the median of its repeats; a dash where the record ends before."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("cases until so many buckets")
    for number in NUMBERS:
        table.add_column(str(number), justify="right")
    for name, by_seed in runs.items():
        needed = {seed: [_typical(repeats, number) for number in NUMBERS] for seed, repeats in by_seed.items()}
        for seed, row in needed.items():
            table.add_row(f"{name}, seed {seed}", *map(_said, row))
        columns = zip(*needed.values(), strict=True)
        table.add_row(f"{name}, median", *(_said(statistics.median(column)) for column in columns), end_section=True)
    console.print(table)


def _typical(repeats: Sequence[Sequence[Entry]], number: int) -> float:
    return statistics.median(until(buckets(run), number) for run in repeats)


def _said(number: float) -> str:
    return "-" if number == math.inf else f"{number:g}"


def expected(counts: Iterable[int], cases: int, drawn: int) -> float:
    """Distinct buckets among so many of the cases, over all orders; `counts`: cases of each bucket."""
    return sum(1 - _none_of(count, cases, drawn) for count in counts)


def _none_of(count: int, cases: int, drawn: int) -> float:
    if drawn > cases - count:
        return 0.0
    ways = math.lgamma(cases - count + 1) - math.lgamma(cases - count - drawn + 1)
    return math.exp(ways - math.lgamma(cases + 1) + math.lgamma(cases - drawn + 1))


def needed(entries: Sequence[Entry], number: int) -> float:
    """Cases until so many buckets are expected."""
    counts = list(Counter(entry["bucket"] for entry in entries if "bucket" in entry).values())
    total = len(entries)
    if number > len(counts):
        return math.inf
    curve = [expected(counts, total, drawn) for drawn in range(total + 1)]
    # All of them are there after all cases, but for rounding.
    return min(bisect_left(curve, number), total)


def fault_rates(entries: Sequence[Entry]) -> dict[str, float]:
    """Cases until each planted fault is expected."""
    shown = Counter(name for entry in entries for name in entry.get("faults", ()))
    early = sum(entry["number"] < EVERY_FAULT for entry in entries)
    return {name: ((early if name in COMMON_FAULTS else len(entries)) + 1) / (shown[name] + 1) for name in FAULTS}


def report_generators(ours: Sequence[Entry], theirs: Sequence[Entry], console: Console) -> None:
    """All cases of all seeds, whatever their order: one order of them says little, being mostly luck."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("cases until", "record", "other", "ratio"):
        table.add_column(heading, justify="right")
    for number in NUMBERS:
        pair = [needed(entries, number) for entries in (ours, theirs)]
        table.add_row(f"{number} buckets", *map(_said, pair), f"{pair[1] / pair[0]:.2f}")
    before, after = fault_rates(ours), fault_rates(theirs)
    for name, cases in before.items():
        table.add_row(name, f"{cases:.0f}", f"{after[name]:.0f}", f"{after[name] / cases:.2f}")
    table.add_row("any fault", "", "", _times([math.log(after[name] / cases) for name, cases in before.items()]))
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("record", type=Path)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--at-once", action="store_true", help="plan a round when the one before it is settled")
    parser.add_argument("--known-avoided", action="store_true", help="the record is of a campaign, which avoids itself")
    parser.add_argument("--other", type=Path, help="a record of another generator")
    options = parser.parse_args()
    revisit = 1.0 if options.known_avoided else REVISIT
    seeds = [int(seed) for seed in options.seeds.split(",")]
    cases = load(options.record)

    def drawn(of: Mapping[int, Sequence[Entry]], revisit: float = revisit) -> dict[int, list[Entry]]:
        return {seed: replay(of[seed], as_drawn, options.at_once, revisit) for seed in seeds}

    plain, console = drawn(cases), Console()
    if options.other is not None:
        other = load(options.other)
        ours, theirs = ([entry for seed in seeds for entry in of[seed]] for of in (cases, other))
        report_generators(ours, theirs, console)
        return
    others: dict[str, Runs] = {
        name: {
            seed: [replay(cases[seed], scheduler, options.at_once, revisit, repeat) for repeat in range(REPEATS)]
            for seed in seeds
        }
        for name, scheduler in SCHEDULERS.items()
    }
    others["as drawn, known ones run too"] = _once(drawn(cases, revisit=1.0))
    report(plain, others, console)
    report_buckets({"as drawn": _once(plain), "fixed: few whole": others["fixed: few whole"]}, console)


def _once(runs: Mapping[int, Sequence[Entry]]) -> Runs:
    return {seed: [run] for seed, run in runs.items()}


if __name__ == "__main__":
    main()
