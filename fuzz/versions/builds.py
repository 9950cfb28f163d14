# SPDX-License-Identifier: Apache-2.0
"""Bisection over the revisions of a local clone: `git bisect` chooses them, a command of the user builds each.

At every revision a process of ours builds and judges, and tells `git bisect run` by its exit code. What it saw goes to
a file, because git passes on nothing but the code.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from fuzz.case import Case, to_plain
from fuzz.case_file import from_plain
from fuzz.grid import Cell
from fuzz.replay import Runner, replay
from fuzz.settings import UsageError
from fuzz.versions.bisection import CONFIRMING, Answer, BisectionError, Criterion, Probe, Side, check_ends
from fuzz.versions.subjects import Subject
from fuzz.worker_process import WORKER
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig, TargetUnavailable

EXIT_CODES = {Side.OLD: 0, Side.NEW: 1, Side.NEITHER: 125}  # as `git bisect run` reads them
ONLY_SKIPPED_LEFT = 2  # exit code of `git bisect run`
STEP = "bisect-step"  # our hidden command


class GitFailed(BisectionError):
    """Git cannot do what a bisection needs."""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a step needs to know, as plain data."""

    case: Case
    config: TargetConfig
    repository: Path
    command: str  # for the shell; its last line is the path of the plugin's shared object
    criterion: Criterion
    log: Path  # a JSON line per step
    worker: tuple[str, ...] = WORKER
    deadline: float = 60.0  # seconds per case

    def to_plain(self) -> dict[str, Any]:
        ends = self.criterion.ends
        return {
            "case": to_plain(self.case),
            "config": self.config.to_plain(),
            "repository": str(self.repository),
            "command": self.command,
            "criterion": asdict(self.criterion) | {"ends": None if ends is None else [e.to_plain() for e in ends]},
            "log": str(self.log),
            "worker": list(self.worker),
            "deadline": self.deadline,
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        plain = data["criterion"]["ends"]
        ends = None if plain is None else (Cell.from_plain(plain[0]), Cell.from_plain(plain[1]))
        return cls(
            from_plain(data["case"]),
            TargetConfig.from_plain(data["config"]),
            Path(data["repository"]),
            data["command"],
            Criterion(**{**data["criterion"], "ends": ends}),
            Path(data["log"]),
            tuple(data["worker"]),
            data["deadline"],
        )


def bisect_builds(
    subject: Subject,
    ends: Mapping[str, str],
    config: TargetConfig,
    deadline: float,
    command: str,
    repository: Path,
    worker: Sequence[str] = WORKER,
) -> Answer:
    """The first commit between two revisions of a clone that changed what the case does. Leaves the clone as it was.

    `ends`: revisions named good and bad, or old and new. `repository`: absolute. Raises UsageError, GitFailed, and
    BisectionError if an end is not what it was said to be.
    """
    first, second = _ordered(repository, ends)
    old, new = _commit(repository, ends[first]), _commit(repository, ends[second])
    with tempfile.TemporaryDirectory(prefix="meshfuzz-bisect-") as scratch, _bisecting(repository):
        criterion = Criterion(first, second, subject.bucket)
        log = Path(scratch) / "steps.jsonl"
        job = Job(subject.case, config, repository, command, criterion, log, tuple(worker), deadline)
        cells = _at(job, old), _at(job, new)
        names = _title(repository, old), _title(repository, new)
        job = replace(job, criterion=check_ends(names, cells, criterion))
        probes = [Probe.of(name, cell, job.criterion) for name, cell in zip(names, cells, strict=True)]
        _git(repository, "bisect", "old", old)
        _git(repository, "bisect", "new", new)
        if len(_suspects(repository)) > 1:
            probes += _run_steps(job, Path(scratch) / "job.json", new)
        suspects = _suspects(repository)
        before = _git(repository, "rev-parse", f"{suspects[0]}^").strip()
        titles = tuple(_title(repository, revision) for revision in suspects)
        return Answer(job.criterion, tuple(probes), _title(repository, before), titles)


def _ordered(repository: Path, ends: Mapping[str, str]) -> tuple[str, str]:
    """What the older end is called, and the other. Raises GitFailed, UsageError."""
    if _run_git(repository, "rev-parse", "--is-inside-work-tree").stdout.strip() != "true":
        raise GitFailed(f"--repository {repository} is no clone of a git repository")
    commits = {name: _commit(repository, revision) for name, revision in ends.items()}
    for first, second in (tuple(commits), tuple(reversed(commits))):
        older = _run_git(repository, "merge-base", "--is-ancestor", commits[first], commits[second]).returncode == 0
        if older and commits[first] != commits[second]:
            if first == "new":
                raise UsageError(f"--old {ends['old']} must be before --new {ends['new']}")
            return first, second
    raise GitFailed(f"{repository}: {' and '.join(ends.values())} must be two revisions, one made from the other")


def step(job: Job) -> int:
    """Build and judge the revision that is checked out; the exit code for `git bisect run`."""
    cell = build_and_run(job)
    probe = Probe.of(_title(job.repository, "HEAD"), cell, job.criterion)
    line = {"commit": _commit(job.repository, "HEAD")} | probe.to_plain()
    with job.log.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")
    return EXIT_CODES[probe.side]


def build_and_run(job: Job) -> Cell:
    """What the case does on the plugin that the command makes, if twice the same; else a cell ENV that says why."""
    print(f"{_title(job.repository, 'HEAD')}: {job.command}", file=sys.stderr, flush=True)
    built = subprocess.run(
        job.command,
        shell=True,  # the user's own command, on the user's own machine
        cwd=job.repository,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if built.returncode != 0:
        last = _last_line(built.stderr) or _last_line(built.stdout) or "it said nothing"
        return _unable(f"--command failed with exit code {built.returncode}: {last}")
    if not (path := _last_line(built.stdout)):
        return _unable("--command printed no path of a plugin")
    runner = Runner(replace(job.config, plugin=str(job.repository / path)), job.worker, job.deadline)
    cells = []
    for _ in range(CONFIRMING):
        again = replay(job.case, runner)
        cells.append(Cell.of(again.outcome, again.bucket))
        if cells[-1].verdict is Verdict.ENV:
            return cells[-1]
    if len({cell.says for cell in cells}) > 1:
        return _unable(f"does not do the same every time: {', then '.join(cell.says for cell in cells)}")
    return cells[0]


def _unable(reason: str) -> Cell:
    return Cell(Verdict.ENV, "build", reason)


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


@contextlib.contextmanager
def _bisecting(repository: Path) -> Iterator[None]:
    """A bisection of the clone, which ends where it began."""
    if (repository / _git(repository, "rev-parse", "--git-path", "BISECT_START").strip()).exists():
        raise GitFailed(f"a bisection of {repository} is going on: end it with git bisect reset")
    if _git(repository, "status", "--porcelain", "--untracked-files=no").strip():
        raise GitFailed(f"{repository} has changes that are not committed: commit or stash them")
    _git(repository, "bisect", "start", "--term-old=old", "--term-new=new")
    try:
        yield
    finally:
        _git(repository, "bisect", "reset")


def _commit(repository: Path, revision: str) -> str:
    done = _run_git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode != 0:
        raise UsageError(f"{repository} has no revision {revision!r}")
    return done.stdout.split()[-1]


def _at(job: Job, commit: str) -> Cell:
    _git(job.repository, "checkout", "--quiet", "--detach", commit)
    return build_and_run(job)


def _suspects(repository: Path) -> list[str]:
    """The commits of which each may be the first new one, oldest first."""
    olds = _git(repository, "for-each-ref", "--format=%(objectname)", "refs/bisect/old-*").split()
    return _git(repository, "rev-list", "--reverse", "--topo-order", "refs/bisect/new", "--not", *olds).split()


def _run_steps(job: Job, path: Path, new: str) -> list[Probe]:
    """Let git choose commits until it knows, and say what was seen at each. Raises GitFailed."""
    path.write_text(json.dumps(job.to_plain()), encoding="utf-8")
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        # -P: the clone may have folders that are called like our packages.
        ["git", "bisect", "run", sys.executable, "-P", "-m", "fuzz", STEP, str(path)],
        cwd=job.repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so that an interrupt ends the build, too
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))},
    )
    try:
        said, _ = process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    lines = job.log.read_text(encoding="utf-8").splitlines() if job.log.exists() else []
    steps = [json.loads(line) for line in lines]
    # Python ends with 1 when it cannot import us, which git takes for a judgement.
    judged = {new, *(step["commit"] for step in steps)}
    found = _git(job.repository, "rev-parse", "refs/bisect/new").strip()
    if process.returncode not in (0, ONLY_SKIPPED_LEFT) or found not in judged:
        raise GitFailed(f"git bisect run failed in {job.repository}: {_last_line(said) or process.returncode}")
    return [Probe(step["revision"], Side(step["side"]), step["said"]) for step in steps]


def _title(repository: Path, revision: str) -> str:
    return _git(repository, "log", "-1", "--format=%h %s", revision).strip()


def _git(repository: Path, *arguments: str) -> str:
    """What git prints. Raises GitFailed."""
    done = _run_git(repository, *arguments)
    if done.returncode != 0:
        said = _last_line(done.stderr) or _last_line(done.stdout)
        raise GitFailed(f"git {arguments[0]} failed in {repository}: {said}")
    return done.stdout


def _run_git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=repository,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise TargetUnavailable(f"git cannot run in {repository}: {error.strerror}") from error
