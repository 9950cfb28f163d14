# SPDX-License-Identifier: Apache-2.0
"""Cases for the hostile worker, alone or as a campaign, and what must be true after them."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz import worker_log
from fuzz.campaign import Tools, run_campaign
from fuzz.case import Case, Input, Mesh, Node, Output, Payload, TensorSpec, replicated
from fuzz.finding import Finding, Script
from fuzz.pool import Pool
from fuzz.processes import marked
from fuzz.settings import Budget, Settings
from fuzz.store import Store
from fuzz.strategies.space import Space
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

WORKER = Path(__file__).with_name("hostile_worker.py")
MESH = Mesh((1, 2), ("x", "y"))

# What a process does, and the verdict it must get; with `judged`, what a target returns.
ACTS: Mapping[str, Verdict] = {
    "pass": Verdict.PASS,
    "segfault": Verdict.CRASH,
    "abort": Verdict.CRASH,
    "raise": Verdict.ENV,
    "exit 0": Verdict.CRASH,
    "real-time signal": Verdict.CRASH,
    "hang": Verdict.HANG,
    "hang with the lock": Verdict.HANG,
    "ignore SIGTERM": Verdict.HANG,
    "stop": Verdict.HANG,
    "leak": Verdict.PASS,
    "eat": Verdict.CRASH,
    "eat in a child": Verdict.CRASH,
    "eat in the reference": Verdict.ENV,
    "bytes": Verdict.CRASH,
    "much": Verdict.CRASH,
    "a list": Verdict.CRASH,
    "deep": Verdict.CRASH,
    "no outcome": Verdict.CRASH,
    "an unknown verdict": Verdict.CRASH,
    "a wrong field": Verdict.CRASH,
    "half a character": Verdict.CRASH,
    "an answer to nobody": Verdict.CRASH,
    "somebody else's protocol": Verdict.CRASH,
    "a stage that is none": Verdict.CRASH,
    "part": Verdict.CRASH,
    "twice": Verdict.PASS,
    "stages forever": Verdict.HANG,
    "close": Verdict.CRASH,
    "close what a daemon holds": Verdict.HANG,  # the pipe does not end, and the process lives
    "read": Verdict.PASS,
    "flood": Verdict.PASS,
    "flood forever": Verdict.HANG,
    "child": Verdict.PASS,
    "daemon": Verdict.PASS,
    "daemon and die": Verdict.CRASH,
    "nameless daemon": Verdict.PASS,
    "child writes": Verdict.CRASH,
    "remove TMPDIR": Verdict.PASS,
    "lock TMPDIR": Verdict.PASS,
    "fill TMPDIR": Verdict.PASS,
    "link TMPDIR": Verdict.PASS,
    "replace TMPDIR": Verdict.PASS,
    "lock in TMPDIR": Verdict.PASS,
    "dig in TMPDIR": Verdict.PASS,
    "remove the log": Verdict.CRASH,
}
LIES: Mapping[str, Verdict] = {
    "pass": Verdict.PASS,
    "an error": Verdict.COMPILE_ERROR,
    "raise": Verdict.ENV,
    "NaN": Verdict.WRONG,
    "a wrong shape": Verdict.WRONG,
    "a wrong rank": Verdict.WRONG,
    "too large": Verdict.WRONG,
    "too few devices": Verdict.WRONG,
    "no devices": Verdict.WRONG,
    "one device twice": Verdict.WRONG,
    "no outputs": Verdict.WRONG,
    "integers": Verdict.WRONG,
    "one wrong replica": Verdict.WRONG,
    "fewer devices now and then": Verdict.NONDETERMINISTIC,
    "other values each time": Verdict.NONDETERMINISTIC,
}


def behaviour(behaviours: Mapping[str, Verdict], seed: int, index: int) -> str:
    """What case `index` does: all of them in turn, each time in another order."""
    names = sorted(behaviours)
    turn, position = divmod(index, len(names))
    # Steps of a number that has no factor in common with the count reach every place once.
    steps = [step for step in range(1, len(names)) if _coprime(step, len(names))]
    return names[(seed + turn + position * steps[(seed + turn) % len(steps)]) % len(names)]


def _coprime(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one == 1


def make_case(does: str) -> Case:
    value = Input("x0", TensorSpec((4, 4), "f32"), Payload("position"), replicated(2))
    return Case(MESH, (value,), (Node("v0", "neg", ("x0",)),), (Output("v0"),), (("does", does),))


class _Unreduced:
    def __init__(self, case: Case) -> None:
        self.case, self.runs, self.minimal = case, 0, True


def publish(finding: Finding, directory: Path, *_: object) -> tuple[Script, ...]:
    return (Script("torch", "", False, "no script is written against an enemy"),)


def _prepared(directory: Path, judged: bool) -> tuple[Path, tuple[str, ...], int]:
    """A folder that must not be touched, the command of the worker, and its limit of memory in bytes."""
    outside = directory / "outside"
    outside.mkdir(parents=True)
    (outside / "precious").write_text("precious")
    os.environ["HOSTILE_OUTSIDE"] = str(outside)
    command = (sys.executable, str(WORKER), *(["judged"] if judged else []))
    return outside, command, (2 << 30) if judged else (256 << 20)


def one_of_each(directory: Path, *, judged: bool = False, deadline: float = 2.0, workers: int = 2) -> list[str]:
    """Run a case of each behaviour, and after it one that does nothing. Returns what is wrong, one line each."""
    behaviours = LIES if judged else ACTS
    outside, command, memory = _prepared(directory, judged)
    folder = directory / "pool"
    target = TargetConfig("cpu", MESH, mock=False)
    with (
        Pool(target, folder, workers=workers, deadline=deadline, memory_limit=memory, command=command) as pool,
        ThreadPoolExecutor(workers) as executor,
    ):

        def both(does: str) -> list[str]:
            outcomes = (pool.run(make_case(does)), pool.run(make_case("pass")))
            expected = (behaviours[does], Verdict.PASS)
            return [
                f"{does}: {outcome.verdict} {outcome.stage} {outcome.message}, expected {verdict}"
                for outcome, verdict in zip(outcomes, expected, strict=True)
                if outcome.verdict is not verdict
            ]

        found = [line for lines in executor.map(both, behaviours) for line in lines]
    return found + _left_behind(folder, outside)


def campaign(
    directory: Path,
    cases: int,
    *,
    judged: bool = False,
    chosen: Collection[str] = (),
    seed: int = 0,
    deadline: float = 2.0,
    workers: int = 2,
) -> list[str]:
    """Run so many cases as a campaign, of all behaviours or of some. Returns what is wrong afterwards, a line each."""
    behaviours = {does: verdict for does, verdict in (LIES if judged else ACTS).items() if not chosen or does in chosen}
    outside, command, memory = _prepared(directory, judged)
    settings = Settings(
        TargetConfig("cpu", MESH, mock=False), Space((MESH,)), seed, workers, deadline, memory,
        revisit=1.0,
    )  # fmt: skip
    tools = Tools(
        lambda _, seed, index: make_case(behaviour(behaviours, seed, index)),
        lambda case, fails: _Unreduced(case),
        publish,
        command,
    )
    folder = directory / "campaign"
    run_campaign(folder, settings, Budget(cases=cases), tools)
    return [
        *_verdicts(folder, [behaviour(behaviours, seed, index) for index in range(cases)], behaviours),
        *_left_behind(folder, outside),
    ]


def _verdicts(folder: Path, did: Sequence[str], expected: Mapping[str, Verdict]) -> list[str]:
    """Cases without a record or with another verdict than they must have, and failing ones in no finding."""
    with sqlite3.connect(folder / "campaign.db") as database:
        rows = {
            number: (verdict, stage, message, bucket)
            for number, verdict, stage, message, bucket in database.execute(
                "SELECT number, verdict, stage, message, bucket FROM cases"
            )
        }
    database.close()
    wrong = Counter(
        f"{does}: {rows[number][:3] if number in rows else 'no record'}, expected {expected[does]}"
        for number, does in enumerate(did)
        if number not in rows or rows[number][0] != expected[does]
    )
    with Store.open(folder) as store:
        findings = {finding.key for finding in store.findings()}
    lost = Counter(
        f"{does}: in no finding"
        for number, does in enumerate(did)
        if number in rows and expected[does].failing and rows[number][3] not in findings
    )
    extra = [f"case {number} was never asked for" for number in rows if number >= len(did)]
    return [f"{count} x {text}" for text, count in (wrong + lost).items()] + extra


def _left_behind(folder: Path, outside: Path) -> list[str]:
    """Processes and files that should be gone, and those that should not."""
    noted = (outside / "pids").read_text().split() if (outside / "pids").exists() else []
    found = [f"process {pid} of a worker lives" for pid in marked(folder.resolve())]
    found += [f"process {pid} that was started lives" for pid in noted if _runs(int(pid))]
    found += [f"{path} was left" for path in (folder / "tmp", *folder.glob("cases/running-*")) if path.exists()]
    found += [f"{path} was changed" for path in outside.iterdir() if path.name not in ("precious", "pids")]
    if (outside / "precious").read_text() != "precious":
        found.append("a file outside was changed")
    sizes = {path: path.stat().st_size for path in folder.glob("logs/*")}
    return found + [f"{path} has {size} bytes" for path, size in sizes.items() if size > 2 * worker_log.LIMIT]


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        name = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return False
    # An id may have been given away: ours sleep or are Python.
    return stat.rpartition(")")[2].split()[0] != "Z" and (name == "sleep" or name.startswith("python"))
