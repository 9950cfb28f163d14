# SPDX-License-Identifier: Apache-2.0
"""This project against NNSmith (generation) and xlaxiom (generation and comparison), on one machine in one run.

    python tests/benchmarks/peers.py [--parts generation,comparison,faults] [--environments DIR] [--json]

Each peer is installed in an environment of its own, at pinned versions, outside the tree. Every tool runs in a driver
process; all take turns of a few cases, so that what else the machine does hits all alike. `docs/notes/peers.md` says
what is compared, and why these are the peers' best settings.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import heapq
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import detection
from peers_driver import Graph
from peers_faults import NEEDS, unable
from peers_tools import NNSMITH, OURS, ROOT, XLAXIOM, Driver, Tool, ToolFailed, python_of
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from oracles.faults import FAULTS
from oracles.targets.environment import cache_root

TURNS = 10
WARM = 4  # cases of each contender before the clock starts
CONFIRMED = 5  # cases of a turn of generation that torch or NumPy executes, outside the clock
DEADLINE = 600.0  # seconds for one answer
DETECTION_DEADLINE = 3600.0  # seconds for one seed of a peer, or for all of ours
DEFAULT = ("symbolic-cinit", 5)  # nnsmith/config/main.yaml: mgen.method, mgen.max_nodes
OTHER_METHODS = ("symbolic", "concolic")  # nnsmith/graph_gen.py, model_gen
WARMING = 900_000  # cases from here on are for warming up, and to learn how large ours are


@dataclass
class Contender:
    """One way to use a tool, and how it did so far."""

    tool: str
    setting: str
    ask: Callable[..., Any]  # the driver's answer to first=, count=
    share: float = 1.0  # of the cases that the others run in a turn
    seconds: list[float] = field(default_factory=list)  # of each turn
    valid: list[float] = field(default_factory=list)  # cases of each turn
    cases: int = 0
    graphs: list[Graph] = field(default_factory=list)
    failure: str = ""

    def turn(self, first: int, count: int) -> None:
        """Run some cases, unless it failed before."""
        if self.failure:
            return
        count = max(1, round(self.share * count))
        try:
            answer = self.ask(first=first, count=count)
        except ToolFailed as error:
            self.failure = str(error)
            return
        self.seconds.append(answer["seconds"])
        self.cases += count
        graphs = answer.get("graphs")
        if graphs is None:
            self.valid.append(answer["valid"])
        else:
            self.graphs += graphs
            self.valid.append(len(graphs) * answer["valid"] / answer["confirmed"])

    def warm_up(self) -> None:
        self.turn(WARMING, WARM)
        self.seconds, self.valid, self.graphs, self.cases = [], [], [], 0

    @property
    def rate(self) -> float | None:
        """Valid cases per second; of graphs, as many are taken to be valid as of those that were executed."""
        return sum(self.valid) / sum(self.seconds) if self.seconds else None


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    measure: str
    peer: str
    our_setting: str
    their_setting: str
    ours: float | None = None
    theirs: float | None = None
    ratio: float | None = None  # above 1 is better for us
    spread: tuple[float, float] | None = None  # smallest and largest ratio of a turn
    note: str = ""


@dataclass
class Bench:
    """The drivers, started when first needed. Close it by its stack."""

    options: argparse.Namespace
    folder: Path
    stack: ExitStack
    pythons: dict[str, Path | ToolFailed] = field(default_factory=dict)
    drivers: dict[tuple[str, str], Driver] = field(default_factory=dict)

    def driver(self, tool: Tool, role: str) -> Driver:
        """Of a tool, one per role. Raises ToolFailed."""
        if tool.name not in self.pythons:
            try:
                self.pythons[tool.name] = python_of(tool, self.options.environments)
            except ToolFailed as error:
                self.pythons[tool.name] = error
        python = self.pythons[tool.name]
        if isinstance(python, ToolFailed):
            raise python
        if (tool.name, role) not in self.drivers:
            driver = Driver(tool, python, self.folder / f"{tool.name.lower()}-{role}")
            self.drivers[tool.name, role] = self.stack.enter_context(driver)
        return self.drivers[tool.name, role]

    def contender(
        self, tool: Tool, setting: str, answer: str, *, role: str = "main", share: float = 1.0, **arguments: object
    ) -> Contender:
        try:
            ask = partial(self.driver(tool, role).ask, answer, DEADLINE, **arguments)
        except ToolFailed as error:
            return Contender(tool.name, setting, partial(_no_answer, error), failure=str(error))
        return Contender(tool.name, setting, ask, share)

    def about(self, tool: Tool) -> dict[str, Any]:
        """What the tool's driver knows of it. Raises ToolFailed."""
        about: dict[str, Any] = self.driver(tool, "main").ask("about", DEADLINE)
        return about


def _no_answer(error: ToolFailed, **_: object) -> None:
    raise error


def take_turns(contenders: Sequence[Contender], cases: int) -> None:
    """All run so many cases, a few at a time."""
    count = max(1, cases // TURNS)
    for contender in contenders:
        contender.warm_up()
    for number in range(TURNS):
        print(f"turn {number + 1} of {TURNS}", file=sys.stderr, flush=True)
        for contender in contenders:
            contender.turn(number * count, count)


def faster(measure: str, ours: Contender, theirs: Contender, note: str = "") -> Row:
    """Valid cases per second of two contenders, over the turns that both took."""
    names = (measure, theirs.tool, ours.setting, theirs.setting)
    turns = min(len(ours.seconds), len(theirs.seconds))
    failure = ours.failure or theirs.failure
    if not turns or not sum(ours.valid[:turns]) or not sum(theirs.valid[:turns]):
        return Row(*names, ours.rate, theirs.rate, note=failure or "no valid case")
    rates = [sum(side.valid[:turns]) / sum(side.seconds[:turns]) for side in (ours, theirs)]
    ratios = [
        (ours.valid[turn] / ours.seconds[turn]) / (theirs.valid[turn] / theirs.seconds[turn])
        for turn in range(turns)
        if theirs.valid[turn]
    ]
    valid = [f"{sum(side.valid) / side.cases:.1%} of {side.cases}" for side in (ours, theirs)]
    told = f"valid: ours {valid[0]}, theirs {valid[1]}{note}{f'; {turns} turns: {failure}' if failure else ''}"
    return Row(*names, rates[0], rates[1], rates[0] / rates[1], (min(ratios), max(ratios)), told)


# --- generation ------------------------------------------------------------------------------------------------------


def generation(bench: Bench) -> Iterator[Row]:
    """Graphs, how many of them differ, and whole test cases."""
    options = bench.options
    draw: dict[str, Any] = {"answer": "generate", "seed": 0, "confirm": CONFIRMED}
    ours = bench.contender(OURS, "fuzz.strategies, 2x2 mesh", **draw)
    ours.turn(WARMING, 100)
    size = max(1, round(statistics.mean(map(len, ours.graphs))))
    nnsmith = [
        bench.contender(NNSMITH, f"{method}, max_nodes={nodes}", method=method, nodes=nodes, **draw)
        for method, nodes in (DEFAULT, *((method, DEFAULT[1]) for method in OTHER_METHODS), (DEFAULT[0], size))
    ]
    xlaxiom = [
        bench.contender(XLAXIOM, setting, width=width, **draw)
        for width, setting in (("campaign", "as its campaign draws"), ("widest", "all motifs, dtypes and single ops"))
    ]
    take_turns([ours, *nnsmith, *xlaxiom], options.cases)
    for theirs in (*nnsmith, *xlaxiom):
        yield faster("graphs /s", ours, theirs, f"; ours: {ops(ours)}, theirs: {ops(theirs)}")
    for theirs in (*nnsmith, *xlaxiom):
        yield distinct(ours, theirs)
    method, nodes = DEFAULT
    ours = bench.contender(OURS, "drawn, inputs, right results", "prepare", seed=0)
    setting = f"{method}, max_nodes={nodes}: drawn, inputs, right results"
    theirs = bench.contender(NNSMITH, setting, "prepare", seed=0, method=method, nodes=nodes)
    take_turns([ours, theirs], options.cases // 4)
    yield faster("test cases /s", ours, theirs)


def ops(contender: Contender) -> str:
    """How large its graphs are: who draws larger ones draws fewer."""
    if not contender.graphs or not contender.rate:
        return "no graph"
    mean = statistics.mean(map(len, contender.graphs))
    return f"{mean:.1f} ops a graph, {mean * contender.rate:.0f} ops /s"


def distinct(ours: Contender, theirs: Contender) -> Row:
    """Distinct op sequences in as many cases of both, 1000 if there are so many."""
    count = min(1000, len(ours.graphs), len(theirs.graphs))
    names = (f"distinct op sequences in {count} cases", theirs.tool, ours.setting, theirs.setting)
    if not count:
        return Row(*names, note=ours.failure or theirs.failure)
    sequences = [len({sequence(graph) for graph in side.graphs[:count]}) for side in (ours, theirs)]
    used = [len({op for graph in side.graphs[:count] for op, _ in graph}) for side in (ours, theirs)]
    ratio = sequences[0] / sequences[1]
    return Row(
        *names, sequences[0], sequences[1], ratio, note=f"different ops in them: ours {used[0]}, theirs {used[1]}"
    )


def sequence(graph: Graph) -> tuple[str, ...]:
    """The names of the ops in topological order; of those that could come next, the first by name.

    So the order in which a tool happens to list independent ops makes no other sequence.
    """
    waiting = [len(set(reads)) for _, reads in graph]
    ready = [(op, place) for place, (op, _) in enumerate(graph) if not waiting[place]]
    heapq.heapify(ready)
    names = []
    while ready:
        name, done = heapq.heappop(ready)
        names.append(name)
        for place, (op, reads) in enumerate(graph):
            if done in reads:
                waiting[place] -= 1
                if not waiting[place]:
                    heapq.heappush(ready, (op, place))
    return tuple(names)


# --- generation and comparison ---------------------------------------------------------------------------------------


def comparison(bench: Bench) -> Iterator[Row]:
    """Cases drawn, compiled, executed and compared. A process for each case is slow, so there are fewer of these."""
    cores = os.cpu_count() or 1
    in_process = bench.contender(OURS, "cpu target, in process, one device", "in_process", role="in-process")
    pools = [
        bench.contender(
            OURS, f"{target} target, {workers} worker(s), 2x2 mesh", "pool", role="pool", target=target, workers=workers
        )
        for target, workers in dict.fromkeys((("cpu", 1), ("cpu", cores), ("tt", cores)))
    ]
    once, campaign, isolated, isolated_campaign = (
        bench.contender(XLAXIOM, setting, "compare", role="compare", share=share, how=how)
        for how, setting, share in (
            ("once", "in process, NumPy against jit", 1.0),
            ("campaign", "in process, its campaign (eager against jit too)", 1.0),
            ("isolated", "isolated, NumPy against jit", 0.2),
            ("campaign isolated", "isolated, its campaign (eager against jit too)", 0.2),
        )
    )
    take_turns([in_process, *pools, once, campaign, isolated, isolated_campaign], bench.options.compared)
    for theirs in (once, campaign):
        yield faster("generated and compared /s", in_process, theirs)
    for theirs in (isolated, isolated_campaign):
        for ours in pools:
            yield faster("generated and compared /s", ours, theirs)


# --- faults ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Detection:
    """How many cases of a tool one planted fault survives: the median of the seeds."""

    fault: str
    tool: str
    setting: str
    cases: int  # of one seed, at most
    seeds: int
    found: int = 0  # seeds
    median: float | None = None  # None: not found by half of the seeds
    places: float | None = None  # share of the cases drawn that have a place for it
    reason: str = ""  # why there is no figure

    @property
    def cell(self) -> str:
        if self.reason:
            return "cannot" if self.reason.startswith("cannot") else "failed"
        return f"{f'>{self.cases}' if self.median is None else f'{self.median:g}'} ({self.found}/{self.seeds})"


def faults(bench: Bench) -> Iterator[Detection]:
    """What every tool detects."""
    options = bench.options
    yield from detected_by_us(options)
    method, nodes = DEFAULT
    for tool, setting, arguments in (
        (NNSMITH, f"{method}, max_nodes={nodes}", {"method": method, "nodes": nodes}),
        (XLAXIOM, "all motifs, dtypes and single ops", {"width": "widest"}),
    ):
        blank = [Detection(fault, tool.name, setting, options.peer_cases, options.seeds) for fault in NEEDS]
        try:
            about, driver = bench.about(tool), bench.driver(tool, "main")
            answers = [
                driver.ask("detect", DETECTION_DEADLINE, seed=seed, cases=options.peer_cases, **arguments)
                for seed in range(options.seeds)
            ]
        except ToolFailed as error:
            yield from (replace(one, reason=str(error)) for one in blank)
        else:
            yield from (detected_by_peer(one, about, answers) for one in blank)


def detected_by_peer(blank: Detection, about: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]) -> Detection:
    drawn = sum(answer["drawn"] for answer in answers)
    ops = sorted({op for answer in answers for op in answer["ops"]})
    if reason := unable(blank.tool, blank.fault, about, {"ops": ops, "drawn": drawn}):
        return replace(blank, reason=f"cannot express it: {reason}")
    if blank.fault not in about["emulated"]:
        return replace(blank, reason="it may express the fault, but nobody wrote how to plant it")
    needed = tuple(answer["found"][blank.fault] for answer in answers if blank.fault in answer["found"])
    median = detection.Row(FAULTS[blank.fault], blank.seeds, needed, 0, (), 0).median
    places = sum(answer["places"][blank.fault] for answer in answers) / drawn
    return replace(blank, found=len(needed), median=median, places=places)


def detected_by_us(options: argparse.Namespace) -> Iterator[Detection]:
    """What `detection.py` measures."""
    command = [sys.executable, detection.__file__, "--json", "--reduced-seeds", "0", "--faults", ",".join(NEEDS)]
    command += ["--seeds", str(options.seeds), "--cases", str(options.detection_cases)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=DETECTION_DEADLINE)
        reason = f"detection.py ended with {process.returncode}" if process.returncode else ""
    except subprocess.TimeoutExpired:
        output, reason = "", f"detection.py took more than {DETECTION_DEADLINE:.0f} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    told = {entry["fault"]: entry for entry in ([] if reason else json.loads(output))}
    for fault in NEEDS:
        blank = Detection(fault, OURS.name, "tt mock, 2x2 mesh", options.detection_cases, options.seeds, reason=reason)
        entry = told.get(fault)
        yield blank if entry is None else replace(blank, found=len(entry["cases"]), median=entry["median"])


# --- report ----------------------------------------------------------------------------------------------------------


def environment(bench: Bench) -> dict[str, Any]:
    """Of the run: what every figure depends on."""
    tools: dict[str, Any] = {}
    for tool in (OURS, NNSMITH, XLAXIOM):
        try:
            tools[tool.name] = bench.about(tool)["versions"]
        except ToolFailed as error:
            tools[tool.name] = {"not measured": str(error)}
    load = round(os.getloadavg()[0], 2)
    return {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "load": load, "tools": tools}


def report(told: Mapping[str, Any], rows: Sequence[Row], detections: Sequence[Detection], console: Console) -> None:
    """What the run depends on, and its tables."""
    console.print(f"{told['date']}, {told['cores']} cores, load {told['load']} before the run", markup=False)
    for name, versions in told["tools"].items():
        listed = ", ".join(f"{package} {version}" for package, version in versions.items())
        console.print(f"{name}: {listed}", markup=False)
    if rows:
        console.print(table_of_rows(rows, told["cores"]), markup=False)
    if detections:
        console.print(table_of_detections(detections, told["cores"]), markup=False)
        for reason, faults_of in reasons(detections).items():
            console.print(f"{reason} ({', '.join(faults_of)})", markup=False)


def table_of_rows(rows: Sequence[Row], cores: int) -> Table:
    """One line of figures per row, with its settings below."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption="ratio above 1: better for us")
    table.add_column(f"on {cores} cores", overflow="fold", ratio=1)
    for heading in ("ours", "theirs", "ratio", "of turns"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        settings = f"  ours: {row.our_setting}\n  theirs: {row.their_setting}\n  {row.note}"
        spread = "" if row.spread is None else f"{row.spread[0]:.2g}..{row.spread[1]:.2g}"
        figures = ("-" if figure is None else f"{figure:.3g}" for figure in (row.ours, row.theirs, row.ratio))
        table.add_row(f"{row.measure}, against {row.peer}\n{settings}", *figures, spread)
    return table


def table_of_detections(detections: Sequence[Detection], cores: int) -> Table:
    """Cases until detection, by fault and tool; with ratios to ours where both have a figure."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.caption = "cases, median (seeds that found it); ratio above 1: better for us; places: share of their cases"
    table.add_column(f"cases until, on {cores} cores", overflow="fold", ratio=1)
    settings = dict.fromkeys((one.tool, one.setting) for one in detections)
    for tool, setting in settings:
        table.add_column(f"{tool}: {setting}", overflow="fold", justify="right")
    by_fault = {fault: [one for one in detections if one.fault == fault] for fault in NEEDS}
    for fault, (ours, *peers) in by_fault.items():
        cells = [ours.cell]
        for peer in peers:
            ratio = f"\nratio {peer.median / ours.median:.2g}" if peer.median and ours.median else ""
            places = "" if peer.places is None else f"\nplaces {peer.places:.1%}"
            cells.append(f"{peer.cell}{ratio}{places}")
        table.add_row(fault, *cells)
    return table


def reasons(detections: Sequence[Detection]) -> dict[str, list[str]]:
    """Why there is no figure: tool and reason, with the faults it is said of."""
    found: dict[str, list[str]] = {}
    for one in detections:
        if one.reason:
            found.setdefault(f"{one.tool}: {one.reason.removeprefix(f'{one.tool}: ')}", []).append(one.fault)
    return found


PARTS: dict[str, Callable[[Bench], Iterator[Row | Detection]]] = {
    "generation": generation,
    "comparison": comparison,
    "faults": faults,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"default: {','.join(PARTS)}")
    parser.add_argument("--cases", type=int, default=1000, help="of each contender, generation only")
    parser.add_argument("--compared", type=int, default=100, help="of each contender, generated and compared")
    parser.add_argument("--seeds", type=int, default=5, help="of each tool, for the faults")
    parser.add_argument("--detection-cases", type=int, default=300, help="of one seed of ours")
    parser.add_argument("--peer-cases", type=int, default=1000, help="of one seed of a peer")
    parser.add_argument("--environments", type=Path, default=cache_root() / "peers", help="default: %(default)s")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    parts = [part for part in options.parts.split(",") if part]
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"unknown parts {', '.join(unknown)}; known: {', '.join(PARTS)}")
    options.environments = options.environments.resolve()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder, ExitStack() as stack:
        bench = Bench(options, Path(folder), stack)
        told = environment(bench)
        found = [result for part in parts for result in PARTS[part](bench)]
    rows = [result for result in found if isinstance(result, Row)]
    detections = [result for result in found if isinstance(result, Detection)]
    if options.json:
        results = {"rows": [asdict(row) for row in rows], "faults": [asdict(one) for one in detections]}
        print(json.dumps({**told, **results}, indent=2))
    else:
        report(told, rows, detections, Console())


if __name__ == "__main__":
    main()
