# SPDX-License-Identifier: Apache-2.0
"""Nothing of the product can turn data into code: ruff's S102, S301 and S307, and what it has no rule for here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# repros/found is what campaigns emitted: evidence, and no part of the product.
SOURCES = sorted(
    path
    for folder in ("fuzz", "oracles", "repros")
    for path in (ROOT / folder).rglob("*.py")
    if "found" not in path.relative_to(ROOT).parts
)
MODULES = frozenset(
    {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code", "codeop", "runpy", "imp"}
    | {"jsonpickle", "commands", "pty"}
)
BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "breakpoint", "input"})
FUNCTIONS = frozenset(
    {"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load_all"}
    | {"os.system", "os.popen", "os.startfile", "torch.load", "np.load", "numpy.load", "torch.hub.load"}
    | {"importlib.import_module", "importlib.util.spec_from_file_location", "ctypes.CDLL", "ctypes.cdll.LoadLibrary"}
    | {"tempfile.mktemp", "subprocess.getoutput", "subprocess.getstatusoutput"}
)
METHODS = frozenset({"enable_load_extension", "load_extension", "from_string", "extractall", "from_pretrained"})
# file: what, and why it is right. One that is not found any more fails, too.
JUSTIFIED = {
    ("fuzz/versions/builds.py", "shell=True"): "the command that the user gave with `bisect --command`",
    ("fuzz/worker.py", "ctypes.CDLL"): "the C library that the process has, for prctl",
    ("oracles/targets/torch_xla_import.py", "importlib.import_module"): "torch_xla's own modules, by names in our code",
}


def found(source: str) -> Iterator[str]:
    """Whatever could run data as code, in order."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.partition(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module), names=names):
                if module.partition(".")[0] in MODULES:
                    yield module
                yield from (full for name in names if (full := f"{module}.{name.name}") in FUNCTIONS)
            case ast.Call(func=function, keywords=keywords):
                called = ast.unparse(function)
                if called in BUILTINS | FUNCTIONS or called.startswith(("os.exec", "os.spawn")):
                    yield called
                elif called.rpartition(".")[2] in METHODS:
                    yield called.rpartition(".")[2]
                for keyword in keywords:
                    text = f"{keyword.arg}={ast.unparse(keyword.value)}"
                    if keyword.arg in ("shell", "allow_pickle", "weights_only") and not text.endswith("=False"):
                        yield text
            case ast.ClassDef(bases=bases):
                loaders = {ast.unparse(base) for base in bases} & {
                    "yaml.Loader",
                    "yaml.UnsafeLoader",
                    "yaml.FullLoader",
                }
                yield from sorted(loaders)


def test_there_is_nothing_in_the_product_that_runs_data() -> None:
    here = {(str(path.relative_to(ROOT)), what) for path in SOURCES for what in found(path.read_text(encoding="utf-8"))}
    assert here == JUSTIFIED.keys()


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from marshal import loads", "eval('1')", "exec(text)", "compile(text, '', 'exec')",
        "yaml.load(text)", "from yaml import unsafe_load", "os.system('x')", "os.execv('x', [])", "__import__('x')",
        "subprocess.run('x', shell=True)", "np.load(p, allow_pickle=True)", "environment.from_string(text)",
        "database.load_extension(p)", "class L(yaml.UnsafeLoader): pass", "importlib.import_module(name)",
    ],
)  # fmt: skip
def test_each_way_to_run_data_is_seen(line: str) -> None:
    assert list(found(line))


@pytest.mark.parametrize("line", ["re.compile('x')", "yaml.safe_load(x)", "subprocess.run(['x'])", "json.load(x)"])
def test_what_only_looks_like_it_is_not(line: str) -> None:
    assert not list(found(line))


def test_every_source_is_looked_at() -> None:
    assert {"fuzz/case.py", "oracles/judge.py", "repros/emit.py"} <= {str(path.relative_to(ROOT)) for path in SOURCES}
