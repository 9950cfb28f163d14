# SPDX-License-Identifier: Apache-2.0
"""Everything that is made of a file of anyone's, and what must hold of it.

`read_all` loads the files of one input with every loader and writes scripts, pages and terminal text of what loads. A
script must be the program that the same case gives when all that is said about it is one word.
"""

from __future__ import annotations

import ast
import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import made_findings
from jinja2 import TemplateError
from mutator import CASE_FILE, CONFIG_FILE, STRINGS
from rich.console import Console

from fuzz.case import Case, CaseError, MeshfuzzError
from fuzz.case_file import load
from fuzz.commands.options import confirmed, stored
from fuzz.corpus import entries, lint
from fuzz.document import printable
from fuzz.finding import Finding
from fuzz.nightly.config import load_config
from fuzz.nightly.one_campaign import campaign_page
from fuzz.ops.core import case_bytes, registered
from fuzz.pool import ExportFailed
from fuzz.publish import finding_script, issue, lit_test
from fuzz.report.html import finding_page
from fuzz.report.terminal import corpus_table, finding_text, findings_table, print_to
from fuzz.settings import Budget, Settings
from fuzz.store import Store
from fuzz.workarounds import instances, load_workarounds
from oracles.explanation import Explanation
from oracles.localisation import Localisation
from oracles.outcome import Mismatch, Outcome, Verdict
from oracles.quotation import Quote
from oracles.targets.config import TargetConfig
from repros.emit import RUNNERS

CONFIG = TargetConfig("tt", made_findings.MESH)
SMALL = 1 << 22  # bytes of a case whose scripts are written here; larger ones are allowed their time
FORMS: tuple[Literal["torch", "stablehlo", "pytest"], ...] = ("torch", "stablehlo", "pytest")
MODULE = "module @m { func.func public @main(%arg0: tensor<8x8xf32>) -> tensor<8x8xf32> { return %arg0 } }"
IMPORTS = frozenset(
    {"fcntl", "glob", "importlib", "jax", "jax._src.interpreters.mlir", "jax.extend.backend", "jax.sharding", "jaxlib"}
    | {"jaxlib.mlir", "jaxlib.mlir.dialects", "ml_dtypes", "numpy", "os", "pytest", "re", "shutil", "subprocess", "sys"}
    | {"tempfile", "torch", "torch_xla", "torch_xla.distributed.spmd", "torch_xla.runtime", "utils", "zlib"}
)
WORD = "x"
# Texts with a meaning, which decide what a script is; all others only say something.
MEANT = frozenset({*map(str, Verdict), "lower", "shlo", "shlo_compiler", "ttir", "ttnn", "right", "wrong"})


Maker = Callable[[], None]


class Escaped(AssertionError):
    """A guard let something through: what is made of a file is not what it may be."""


@dataclass
class Reading:
    """What came of one input."""

    said: str = "read"  # or why it was refused
    loading: float = 0.0  # seconds of this thread
    making: float = 0.0


def read_all(kind: str, folder: Path) -> Reading:
    """Load an input, and make what is made of it. Raises Escaped, and whatever should not come out of a loader."""
    told, began = Reading(), time.thread_time()
    try:
        makers = list(_READERS[kind](folder))
    except MeshfuzzError as error:
        told.said = str(error)
        printable(told.said).encode()  # what cannot be encoded cannot be printed
        makers = []
    told.loading = time.thread_time() - began
    began = time.thread_time()
    for make in makers:
        make()
    told.making = time.thread_time() - began
    return told


def _case(folder: Path) -> Iterator[Maker]:
    case = load(folder / CASE_FILE)
    number = int(case.digest, 16)
    text, verdict = STRINGS[number % len(STRINGS)], (Verdict.WRONG, Verdict.COMPILE_ERROR, Verdict.CRASH)[number % 3]
    yield lambda: made_of(_told(case, text, verdict), folder)


def _told(case: Case, text: str, verdict: Verdict) -> Finding:
    """A finding of the case of which every sentence is the text."""
    text = text.encode("utf-8", "replace").decode()
    outcome = Outcome(
        verdict, "ttir", text, text, (text,), 0.5, (Mismatch(text, 0, 1, 2, ((text, text, text),)),), text, {}, text,
        "", (text,), {"shlo": "right", text: text},
    )  # fmt: skip
    blamed = Localisation(verdict, (text,), "ttir", "", Quote((text,), (text,), text))
    return made_findings.finding(text, None, case, outcome, localisation=blamed, explanation=Explanation(text, text, 1))


def _entry(folder: Path) -> Iterator[Maker]:
    kept = entries(folder)
    yield lambda: terminal(corpus_table(kept))
    yield lambda: terminal("\n".join(lint(folder)))


def _config(folder: Path) -> Iterator[Maker]:
    config = load_config(folder / CONFIG_FILE)
    kind, _, path = config.target.partition(":")
    confirmed(TargetConfig(kind, plugin=path or config.plugin), None)
    yield from ()


def _workarounds(folder: Path) -> Iterator[Maker]:
    for each in load_workarounds(folder):
        for form in (each.avoided, each.replacement, *each.neighbours):
            list(instances(form, each))
    yield from ()


def _database(folder: Path) -> Iterator[Maker]:
    with Store.open(folder) as store:
        settings, budget = stored(store)
        found = store.findings()
        read = (store.pending(), store.counts(), store.stages(), store.coverage(), store.recorded(), store.elapsed)
        read += (store.tried(0, 1 << 40), store.messages(Verdict.UNSUPPORTED), store.rounds())
        confirmed(settings.target, None)
    yield lambda: terminal(findings_table(found))
    for finding in found:
        yield partial(made_of, finding, folder)
    if all(_is_small(finding.case) for finding in found):
        yield partial(_campaign_page, folder, settings, budget)


def _campaign_page(folder: Path, settings: Settings, budget: Budget) -> None:
    with Store.open(folder) as store:
        page(campaign_page(store, settings, budget, _refuse))


_READERS: dict[str, Callable[[Path], Iterator[Maker]]] = {
    "case": _case,
    "entry": _entry,
    "config": _config,
    "workarounds": _workarounds,
    "database": _database,
}


def _refuse(case: Case) -> Mapping[str, Any]:
    raise ExportFailed("not here")


def _is_small(case: Case) -> bool:
    try:
        return case_bytes(case) <= SMALL
    except CaseError:
        return True


def made_of(finding: Finding, folder: Path) -> None:
    """All texts that are made of a finding, checked."""
    terminal(finding_text(finding, folder))
    if not _is_small(finding.case):
        return
    page(finding_page(finding, CONFIG, (), {"torch": "2"}))
    twin = Finding.from_plain(_silent(finding.to_plain()))
    for form in FORMS:
        text = _written(lambda form=form: finding_script(finding, form, CONFIG, _export))  # type: ignore[misc]
        if text is not None:
            wanted = _written(lambda form=form: finding_script(twin, form, CONFIG, _export))  # type: ignore[misc]
            script(text, wanted or "", finding.case)
    report = _written(lambda: issue(finding, CONFIG, ("x_torch.py",)))
    if report is not None:
        markdown(report)
    module = _written(lambda: lit_test(finding, CONFIG, _export) or "")
    if module:
        lit(module)


def _written(make: Callable[[], str]) -> str | None:
    """None if it is refused."""
    try:
        return make()
    except (MeshfuzzError, TemplateError):
        return None


def _export(case: Case) -> Mapping[str, Any]:
    return {"text": MODULE, "arguments": [{"input": value.name} for value in case.inputs]}


def _silent(plain: dict[str, Any]) -> dict[str, Any]:
    """A finding of which nothing is said but one word, again and again."""
    kept = {name: plain[name] for name in ("reduced", "original", "neighbours", "scripts", "state", "witnesses")}
    return {**_one_word(plain), **kept}


def _one_word(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _one_word(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_one_word(each) for each in data]
    return WORD if isinstance(data, str) and data not in MEANT and set(data) - set(".abcdefghijk") else data


# --- what must hold ---------------------------------------------------------------------------------------------------


def script(text: str, twin: str, case: Case) -> None:
    """It is the program of its twin, which says nothing, and that one has no words but a template's and the case's."""
    text.encode()
    tree, wanted = ast.parse(text), ast.parse(twin)
    if _shape(tree) != _shape(wanted):
        raise Escaped("what is said about a case changes its script")
    imported, names = _words(tree)
    values = {each.name for each in (*case.inputs, *case.nodes, *case.outputs)}
    ops = list(dict.fromkeys(node.op for node in case.nodes)) or ["resharding"]
    values |= {"_".join(["test", *ops[:3], *tail]) for tail in ((), ("sharded",))}  # the name of a test
    if odd := imported - IMPORTS:
        raise Escaped(f"a script imports {sorted(odd)}")
    if odd := names - values - _vocabulary():
        raise Escaped(f"a script has the words {sorted(odd)}")


def _shape(tree: ast.AST) -> str:
    """The program without its texts, which a person reads and nothing else does."""
    tree = ast.parse(ast.unparse(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.dump(tree)


def _words(tree: ast.AST) -> tuple[set[str], set[str]]:
    """What a program imports, and all other words of it: names, attributes, arguments."""
    imported: set[str] = set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.arg | ast.keyword):
            names.add(node.arg or "")
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
    return imported, names


@lru_cache(maxsize=1)
def _vocabulary() -> frozenset[str]:
    """The words of the templates, as they stand there, and of the ops."""
    root = Path(__file__).parents[2]
    sources = [path.read_text(encoding="utf-8") for path in (root / "repros" / "templates").glob("*.py.j2")]
    sources += [(root / "repros" / "literal.py").read_text(encoding="utf-8"), *(op.source for op in registered())]
    words = set(re.findall(r"[A-Za-z_]\w*", "\n".join(sources)))
    marks = {"OP_TEST", "GRAPH_TEST", "llmbox", *RUNNERS.values()}
    return frozenset(
        words | marks | {op.name for op in registered()} | {"", "dtype", "int32", "int64", "float32", "bool"}
    )


class _Page(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag in ("img", "iframe", "object", "embed", "base", "link"):
            raise Escaped(f"a page has <{tag}>")
        for name, value in attributes:
            if name.startswith("on") or (value or "").strip().lower().startswith(("javascript:", "data:")):
                raise Escaped(f"a page has {name}={value!r}")


def page(text: str) -> None:
    """It runs no script but ours, loads nothing, and shows no control characters."""
    text.encode()
    seen = _Page()
    seen.feed(text)
    if seen.scripts > ("Content-Security-Policy" in text):
        raise Escaped("a page has a script that is not ours")
    _printable(text)


def terminal(text: Any) -> None:
    """Nothing in it acts on a terminal."""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_to(console, text)
    output = console.file.getvalue()  # type: ignore[attr-defined]
    output.encode()
    _printable(output)


def _printable(text: str) -> None:
    if odd := re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text):
        raise Escaped(f"{odd.group()!r} in {text[max(0, odd.start() - 40) : odd.end() + 40]!r}")


def markdown(text: str) -> None:
    """Outside of code, no tags and no links; its comment ends where ours does."""
    text.encode()
    _printable(text)
    outside = re.sub(r"^(`{3,})[a-z]*\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"\A<!--.*?-->", "", outside, flags=re.DOTALL)
    outside = re.sub(r"`[^`\n]*`", "", outside)
    if odd := re.search(r"(?<!\\)<[a-zA-Z/!]|(?<!\\)\]\(|(?<!\\)-->", outside):
        raise Escaped(f"markup in a report: {outside[max(0, odd.start() - 60) : odd.end() + 60]!r}")


def lit(text: str) -> None:
    """It has the command that we wrote and no other."""
    text.encode()
    if len(re.findall("RUN:", text)) != 1 or any(word in text for word in ("XFAIL:", "DEFINE:", "ALLOW_RETRIES:")):
        raise Escaped("a lit test has a directive that is not ours")
    for line in text.splitlines():
        if re.search(r"CHECK[\w-]*:", line) and not re.match(r"// CHECK(-LABEL|-NOT)?: ", line):
            raise Escaped(f"a lit test has a check that is not ours: {line!r}")
