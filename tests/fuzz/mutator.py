# SPDX-License-Identifier: Apache-2.0
"""Hostile files made from good ones: the structure is kept as far as that takes an attack past the first check.

`mutated(kind, random)` gives the files of one input, by name; the same `random` gives the same files.
"""

from __future__ import annotations

import contextlib
import copy
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import made_findings
import yaml

from fuzz.case import to_plain
from fuzz.case_file import dump
from fuzz.corpus import About, dump_entry
from fuzz.evidence import Neighbour
from fuzz.settings import Budget, Settings
from fuzz.store import DATABASE, Store
from fuzz.strategies.space import Space
from oracles.outcome import Outcome, Verdict
from oracles.targets.config import TargetConfig

ROOT = Path(__file__).parents[2]
CANARY = "canary-of-the-hostile-files"  # a file or word of this name outside of an input's folder tells of an escape
CODE = f"__import__('os').system('touch /tmp/{CANARY}')"
STRINGS = (
    "", " ", "x" * 70, "x" * 100_000, "\0", "\x1b]0;owned\x07\x1b[2J", "\x9b31m", "\ud800", "\u202e gnp.exe", "\u2028x",
    f"'; {CODE}; '", f'"""\n{CODE}\n"""', f"'''\n{CODE}\n'''", f"\n{CODE}\n", f"\r{CODE}", f"\x0c{CODE}", f"\x85{CODE}",
    "# coding: utf-7\n+AGkAbQBwAG8AcgB0-", "\\", "\\'", '\\"', "{0.__class__}", "{{ 7 * 7 }}", "{% import 'os' %}",
    "%s%n", "${PATH}", "`id`", "$(id)", "; rm -rf ~", "| sh", "--index-url=http://x", "-rfile", "../../etc/passwd",
    "/etc/passwd", f"/tmp/{CANARY}", "~/.bashrc", "repros/../../x.py", "repros/x.py/../../../y",
    "file:///etc/passwd", "C:\\x", "/dev/zero", "<script>alert(1)</script>", "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "-->", "]]>", "javascript:alert(1)", "```\n<script>\n```",
    "[click](javascript:alert(1))", "![x](http://x/y.png)", "| a | b |", f"RUN: {CODE}",
    f"x\n// RUN: touch /tmp/{CANARY}", "CHECK-NOT: x", "[bold red]x[/]", "[link=http://x]x[/link]",
    "!!python/object/apply:os.system [id]", "&a [*a]", "<<", "yes", "null", "1e999", "0x41", "2001-01-01", "=", "~",
    "export_path", "xla_dump_to", "x0", "v0", "device", "graph", "mark", "lambda", "__class__", "eval", "os", "sys",
    "torch", "plugin", "plugin:/tmp/evil.so", "flip", "gather", "f32", "f64", "position", "permutation", "boundary",
    "ttnn", "shlo",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 63, 64, 65, 255, 1 << 16, 1 << 20, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 53) + 1, (1 << 60) + 1,
    (1 << 63) - 1, -(1 << 63), 1 << 63, 1 << 64, 10**30, 10**5000, 0.5, -0.0, 1e308, float("inf"), float("nan"), True,
)  # fmt: skip
FRAGMENTS = (
    b"&a ", b"*a", b"!!python/object/apply:os.system ['id']", b"<<: {}", b"[" * 60, b"{a: " * 60, b"1e999", b".inf",
    b".nan", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"---\n", b"...\n", b"%YAML 9.9\n", b"? ", b"|\n", b">\n", b"\t",
    b"'", b'"', b"#", b"1" * 5000, b"1:1:1:1:1:1", b"0b1", b"\r", b"\xe2\x80\xa8", b": ", b"- ",
)  # fmt: skip
KINDS = ("case", "entry", "config", "workarounds", "database")
CASE_FILE, CONFIG_FILE = "case.yaml", "nightly.yaml"


# --- what is mutated --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _cases() -> list[Any]:
    """Plain data of good cases: made by hand, and of the corpus."""
    plain = [to_plain(finding.case) for finding in made_findings.ugly().values()]
    files = sorted((ROOT / "corpus").glob("*/*.yaml"))[::9]
    return plain + [_without_about(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in files]


def _without_about(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "about"}


@lru_cache(maxsize=1)
def _findings() -> list[Any]:
    found = [*made_findings.ugly().values(), made_findings.ordinary()]
    refused = Outcome(Verdict.COMPILE_ERROR, "ttir", "'ttir.gather' op has 3 dims", op="gather", log="a\nb")
    found.append(made_findings.finding("COMPILE_ERROR ttir", None, None, refused))
    found.append(made_findings.finding("CRASH ttir", None, None, Outcome(Verdict.CRASH, "ttir", "signal SIGSEGV")))
    return [json.loads(json.dumps(finding.to_plain())) for finding in found]


@lru_cache(maxsize=1)
def _settings() -> dict[str, Any]:
    settings = Settings(TargetConfig("tt", made_findings.MESH), Space((made_findings.MESH,)))
    return {"settings": json.loads(json.dumps(settings.to_plain())), "budget": Budget(cases=10).to_plain()}


@lru_cache(maxsize=1)
def _database() -> bytes:
    """A good campaign, as one file."""
    with tempfile.TemporaryDirectory() as folder:
        with Store.create(Path(folder), _settings()) as store:
            for number, finding in enumerate(made_findings.ugly()[name] for name in ("rank 1", "hostile", "crash")):
                store.record(number, finding.case.digest, finding.outcome, (finding.id,))
                store.put_finding(finding)
        with sqlite3.connect(Path(folder) / DATABASE) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return (Path(folder) / DATABASE).read_bytes()


@lru_cache(maxsize=1)
def _entry() -> Any:
    finding = made_findings.ordinary()
    about = About("it asks", ("K1",), ("tt-mlir#1",), "WRONG", finding.key, "p 1", (Neighbour("why", finding.case),))
    return yaml.safe_load(dump_entry(finding.case, about))


@lru_cache(maxsize=1)
def _workarounds() -> tuple[list[Any], dict[str, bytes]]:
    """Three workarounds of the corpus, and the files of their forms."""
    corpus = ROOT / "corpus"
    every = yaml.safe_load((corpus / "workarounds.yaml").read_text(encoding="utf-8"))[:3]
    names = {name for each in every for name in (each["avoided"], each["replacement"], *each["neighbours"])}
    return every, {name: (corpus / name).read_bytes() for name in names}


# --- how --------------------------------------------------------------------------------------------------------------


def mutated(kind: str, random: Random) -> Mapping[str, bytes]:
    """The files of one input of a kind, one of KINDS, by their names."""
    return _MAKERS[kind](random)


def _case(random: Random) -> dict[str, bytes]:
    return {CASE_FILE: written(changed(random.choice(_cases()), random), random)}


def _an_entry(random: Random) -> dict[str, bytes]:
    return {f"seeds/{CASE_FILE}": written(changed(_entry(), random), random)}


def _config(random: Random) -> dict[str, bytes]:
    good = yaml.safe_load((ROOT / "docs" / "nightly" / "nightly.yaml").read_text(encoding="utf-8"))
    good |= {"folder": "nights", "corpus": ""}
    return {CONFIG_FILE: written(changed(good, random), random)}


def _some_workarounds(random: Random) -> dict[str, bytes]:
    every, forms = _workarounds()
    files = dict(forms)
    if random.random() < 0.5:
        files[random.choice(sorted(files))] = written(changed(random.choice(_cases()), random), random)
    return files | {"workarounds.yaml": written(changed(every, random), random)}


def _a_database(random: Random) -> dict[str, bytes]:
    if random.random() < 0.2:
        return {DATABASE: corrupted(_database(), random, 4)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DATABASE
        path.write_bytes(_database())
        database = sqlite3.connect(path)
        if random.random() < 0.1:
            _set_schema(database, random)
        else:
            for _ in range(random.randint(1, 3)):
                random.choice(_ROWS)(database, random)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        return {DATABASE: path.read_bytes()}


def _set_setting(database: sqlite3.Connection, random: Random) -> None:
    name = random.choice(("settings", "budget", "format", "elapsed"))
    value = changed(_settings(), random) if name == "settings" else _attack(random)
    database.execute("INSERT OR REPLACE INTO campaign VALUES (?, ?)", (name, _stored(value, random)))


def _set_finding(database: sqlite3.Connection, random: Random) -> None:
    plain = changed(random.choice(_findings()), random)
    key = plain.get("key") if isinstance(plain, dict) else "x"
    values = (_cell(key if random.random() < 0.8 else _attack(random)), 3, _stored(plain, random))
    database.execute("INSERT OR REPLACE INTO findings VALUES (?, ?, ?)", values)


def _set_cell(database: sqlite3.Connection, random: Random) -> None:
    columns = (
        "digest",
        "verdict",
        "stage",
        "signature",
        "message",
        "seconds",
        "patterns",
        "stages",
        "outcome",
        "bucket",
    )
    column = random.choice(columns)
    value = _cell(_attack(random)) if random.random() < 0.7 else _stored(_attack(random), random)
    number = random.randint(0, 5)
    database.execute(f"UPDATE OR IGNORE cases SET {column} = ? WHERE number = ?", (value, number))


def _set_schema(database: sqlite3.Connection, random: Random) -> None:
    statement = random.choice(SCHEMAS)
    if statement.partition(" ")[0] == "ALTER":
        database.execute(statement)
    else:
        database.executescript(statement)


SCHEMAS = (
    "CREATE TRIGGER t AFTER INSERT ON cases BEGIN DELETE FROM findings; END",
    "DROP TABLE coverage; CREATE VIEW coverage AS SELECT 'a' AS op, 'b' AS dtype, 'c' AS sharding, 1 AS boundary,"
    " 1 AS cases, 1 AS failing",
    "DROP TABLE findings; CREATE VIEW findings AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    " SELECT i AS key, i AS first, 'x' AS body FROM n",
    "ALTER TABLE cases ADD COLUMN more TEXT GENERATED ALWAYS AS (upper(message)) VIRTUAL",
    "CREATE TABLE more (x)",
    "DROP TABLE findings",
    "CREATE INDEX i ON cases (abs(number))",
)
_ROWS: tuple[Callable[[sqlite3.Connection, Random], None], ...] = (
    _set_setting, _set_finding, _set_finding, _set_finding, _set_cell, _set_cell,
)  # fmt: skip
_MAKERS = {
    "case": _case,
    "entry": _an_entry,
    "config": _config,
    "workarounds": _some_workarounds,
    "database": _a_database,
}


def _cell(value: object) -> object:
    """A value as SQLite can hold it."""
    if isinstance(value, str):
        return value if value.isprintable() else value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else float(min(value, 10**300))
    return json.dumps(_short(value))


def _stored(value: object, random: Random) -> object:
    """JSON as the store writes it; sometimes not quite."""
    if random.random() < 0.05:
        return "[" * 100_000
    content = json.dumps(_short(value))
    if random.random() < 0.1:
        return corrupted(content.encode(), random, 2).decode("latin-1")
    return content


def _short(value: Any) -> Any:
    """Python refuses to write longer numbers."""
    if isinstance(value, dict):
        return {str(key): _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    return 10**4000 if isinstance(value, int) and value > 10**4000 else value


def written(data: object, random: Random) -> bytes:
    """YAML, at times as JSON, at times with bytes that no writer writes."""
    data = _short(data)
    text = json.dumps(data)
    if random.random() < 0.5:
        style = random.choice((None, True, False))
        # What is nested deeper than its writer can follow stays JSON, which is YAML too.
        with contextlib.suppress(RecursionError):
            text = yaml.dump(data, sort_keys=False, default_flow_style=style)
    content = text.encode("utf-8", "surrogatepass")
    return corrupted(content, random, 2) if random.random() < 0.15 else content


def corrupted(content: bytes, random: Random, times: int) -> bytes:
    """With some bytes other, gone, doubled or from elsewhere."""
    for _ in range(random.randint(1, times)):
        at = random.randrange(len(content) + 1)
        size = random.randint(1, 16)
        content = random.choice(
            (
                content[:at] + random.choice(FRAGMENTS) + content[at:],
                content[:at] + random.randbytes(size) + content[at + size :],
                content[:at] + content[at + size :],
                content[:at] + content[at : at + size] * 3 + content[at + size :],
                content[:at],
            )
        )
    return content


def changed(data: Any, random: Random) -> Any:
    """A copy with one to three parts that are not what they should be; half of the time they look as if they were."""
    data = copy.deepcopy(data)
    if random.random() < 0.5:
        for holder, key in random.choices(list(_places(data)), k=random.choice((1, 1, 2, 3))):
            if key in holder if isinstance(holder, dict) else key < len(holder):
                _plausible(data, holder, key, random)
        return data
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        places = list(_places(data))
        if places:
            holder, key = random.choice(places)
            random.choice(_EDITS)(holder, key, random)
    return data


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every part that is inside another, as what holds it and where."""
    keys = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for key in keys:
        yield data, key
        yield from _places(data[key])


def _plausible(data: Any, holder: Any, key: Any, random: Random) -> None:
    """Another value of the same type: of a text an attack, or what stands elsewhere."""
    value = holder[key]
    elsewhere = [h[k] for h, k in _places(data) if type(h[k]) is type(value)]
    if isinstance(value, str) and (" " in value or random.random() < 0.2):
        _splice(holder, key, random)
    elif isinstance(value, int) and not isinstance(value, bool):
        holder[key] = random.choice((value + 1, value - 1, value * 2, 0, 1, 2, 3, 4, 8))
    elif isinstance(value, str | bool | float | None):
        holder[key] = random.choice(elsewhere)
    elif isinstance(value, list) and value:
        holder[key] = random.choice((value[1:], value[:-1], value[::-1], [*value, copy.deepcopy(value[0])]))


def _attack(random: Random) -> Any:
    return random.choice(
        (random.choice(STRINGS), random.choice(NUMBERS), None, [], {}, [[]], {"": {}}, [random.choice(STRINGS)] * 3)
    )


def _replace(holder: Any, key: Any, random: Random) -> None:
    holder[key] = _attack(random)


def _retype(holder: Any, key: Any, random: Random) -> None:
    value = holder[key]
    other: Any = random.choice((str(value)[:100], [value], {"x": value}, None, True, 0, 1.5))
    holder[key] = other


def _splice(holder: Any, key: Any, random: Random) -> None:
    """Only texts can be spliced; of others, one that says the same."""
    text, at = str(holder[key])[:1000], random.random()
    cut = int(len(text) * at)
    holder[key] = text[:cut] + random.choice(STRINGS) + text[cut:]


def _enlarge(holder: Any, key: Any, random: Random) -> None:
    value = holder[key]
    if isinstance(value, int | float):
        holder[key] = random.choice(NUMBERS)
    elif isinstance(value, list | str):
        holder[key] = value * random.choice((2, 100, 1000))


def _remove(holder: Any, key: Any, random: Random) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, random: Random) -> None:
    if isinstance(holder, dict):
        holder[random.choice(STRINGS)] = holder.pop(key)
    else:
        holder.insert(key, copy.deepcopy(holder[key]))


def _nest(holder: Any, key: Any, random: Random) -> None:
    value = holder[key]
    for _ in range(random.choice((1, 30, 200))):
        value = [value] if random.random() < 0.5 else {"x": value}
    holder[key] = value


_EDITS = (_replace, _replace, _retype, _splice, _splice, _splice, _enlarge, _remove, _rename, _nest)


def good(kind: str) -> Mapping[str, bytes]:
    """What a kind's inputs are made from, unchanged."""
    every, forms = _workarounds()
    made: dict[str, Callable[[], dict[str, bytes]]] = {
        "case": lambda: {CASE_FILE: dump(made_findings.case()).encode()},
        "entry": lambda: {f"seeds/{CASE_FILE}": yaml.safe_dump(_entry()).encode()},
        "config": lambda: {CONFIG_FILE: b"folder: nights\ncorpus: ''\n"},
        "workarounds": lambda: {"workarounds.yaml": yaml.safe_dump(every).encode(), **forms},
        "database": lambda: {DATABASE: _database()},
    }
    return made[kind]()
