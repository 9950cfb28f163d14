# SPDX-License-Identifier: Apache-2.0
"""An environment per version: the plugin asked for and no other, complete or absent, and every failure in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.case import Mesh
from fuzz.corpus import load_entry
from fuzz.replay import replay
from fuzz.settings import UsageError
from fuzz.versions import environments
from fuzz.versions.environments import (
    Environment,
    InstallFailed,
    PluginVersion,
    available,
    environment,
    parse_plugins,
)
from oracles.outcome import Verdict
from oracles.targets.config import TargetConfig

ROOT = Path(__file__).parents[3]
PLUGIN = "jax_plugins/libtt/libtt.so"
Wheel = Callable[..., None]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """Puts wheels where pip finds them, and nothing else; environments go to a cache of the test."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(name: str, version: str, *files: str, requires: str = "") -> None:
        stem = f"{name.replace('-', '_')}-{version}"
        described = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        described += f"Requires-Dist: {requires}\n" if requires else ""
        with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
            for file in files:
                # A shared object of this machine: that it is one is looked at before it is loaded.
                archive.writestr(file, _shared_object() if file.endswith(".so") else "")
            archive.writestr(f"{stem}.dist-info/METADATA", described)
            archive.writestr(
                f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{stem}.dist-info/RECORD", "")

    return make


def _shared_object() -> bytes:
    with Path(sys.executable).open("rb") as stream:
        header = bytearray(stream.read(64))
    header[16:18] = b"\x03\x00" if header[5] == 1 else b"\x00\x03"
    return bytes(header)


def plugin(wheel: Wheel, version: str) -> PluginVersion:
    wheel("jax-tt-plugin", version, PLUGIN, "jax_plugins/libtt/__init__.py", requires="nothing-that-exists")
    return PluginVersion("jax-tt-plugin", version)


def ask(made: Environment, program: str) -> str:
    """What a program prints in the environment, which sees this code as a worker does."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = (str(made.python), "-c", program)
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout.strip()


def test_it_is_made_once_and_finds_its_plugin_alone_and_the_packages_of_this_python(
    wheel: Wheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin(wheel, "9.0")
    made = environment(plugin(wheel, "9.1"))
    found = ask(
        made,
        "import click, sys; from oracles.targets.environment import find_tt_plugin, plugin_version as version;"
        "print(find_tt_plugin(), version(find_tt_plugin()), click.__file__, sys.prefix, sep='\\n')",
    )
    import click

    prefix = made.python.parents[1]
    assert found.splitlines() == [str(made.plugin), "jax-tt-plugin 9.1", click.__file__, str(prefix)]
    assert made.plugin == prefix / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / PLUGIN
    assert made.runner(TargetConfig("tt"), 5.0).config.plugin == str(made.plugin)
    monkeypatch.setattr(environments, "_build", lambda *_: pytest.fail("built again"))
    assert environment(PluginVersion("jax-tt-plugin", "9.1")) == made


def test_what_is_pinned_comes_before_the_packages_of_this_python(wheel: Wheel, tmp_path: Path) -> None:
    wheel("iniconfig", "99.0", "iniconfig/__init__.py", requires="pluggy")
    pin = tmp_path / "pins.txt"
    pin.write_text("iniconfig==99.0\n")
    made = environment(plugin(wheel, "9.1"), pin)
    found = ask(made, "import iniconfig, pluggy; print(iniconfig.__file__, pluggy.__file__, sep='\\n')").splitlines()
    import pluggy

    assert found[0].startswith(str(made.python.parents[1]))
    assert found[1] == pluggy.__file__
    pin.write_text("jax-tt-plugin==9.0\n")
    plugin(wheel, "9.0")
    with pytest.raises(
        InstallFailed, match=r"jax-tt-plugin==9.1 cannot be installed with --pin .*pins.txt: .+"
    ) as raised:
        environment(PluginVersion("jax-tt-plugin", "9.1"), pin)
    assert "\n" not in str(raised.value)


def test_a_build_that_is_killed_leaves_nothing_that_is_taken_for_good(wheel: Wheel, tmp_path: Path) -> None:
    wanted = plugin(wheel, "9.1")
    program = (
        "import time; from fuzz.versions import environments as e;"
        "e._install = lambda *_: time.sleep(600); e.environment(e.PluginVersion('jax-tt-plugin', '9.1'))"
    )
    building = subprocess.Popen((sys.executable, "-c", program), cwd=ROOT)
    folder = tmp_path / "cache" / "meshfuzz" / "environments"
    until = time.monotonic() + 60
    while not list(folder.glob("unfinished-*/bin/python")) and time.monotonic() < until:
        time.sleep(0.05)
    building.send_signal(signal.SIGKILL)
    building.wait()
    assert list(folder.glob("unfinished-*"))
    assert environment(wanted).plugin.is_file()
    assert not list(folder.glob("unfinished-*"))


def test_versions_that_can_be_installed_are_listed_oldest_first(wheel: Wheel) -> None:
    for version in ("9.10", "9.2", "9.1"):
        plugin(wheel, version)
    assert available("jax-tt-plugin") == ("9.1", "9.2", "9.10")


def test_what_cannot_be_had_is_said_in_one_line_and_leaves_nothing(wheel: Wheel, tmp_path: Path) -> None:
    plugin(wheel, "9.1")
    wheel("other-plugin", "1.0", "other/plugin.so")
    for wanted, message in (
        (
            PluginVersion("jax-tt-plugin", "9.9"),
            "cannot be installed: no jax-tt-plugin==9.9 for this Python; there are 9.1",
        ),
        (PluginVersion("no-such-plugin", "1"), "cannot be installed: no package index answers, or none knows it"),
        (PluginVersion("other-plugin", "1.0"), "other-plugin==1.0 brings no TT plugin: expected "),
    ):
        with pytest.raises(InstallFailed, match=message) as raised:
            environment(wanted)
        assert "\n" not in str(raised.value)
    with pytest.raises(InstallFailed, match="no versions of no-such-plugin found: no package index answers"):
        available("no-such-plugin")
    left = (tmp_path / "cache" / "meshfuzz" / "environments").iterdir()
    assert {path.suffix for path in left} == {".lock"}


def test_a_cache_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meshfuzz").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InstallFailed, match="make it writable or set XDG_CACHE_HOME"):
        environment(PluginVersion("jax-tt-plugin", "9.1"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jax-tt-plugin", ("jax-tt-plugin", ())),
        ("jax-tt-plugin==0.1.2", ("jax-tt-plugin", ("0.1.2",))),
        ("a==1, 2.0rc1,1", ("a", ("1", "2.0rc1"))),
    ],
)
def test_plugins_are_read(text: str, expected: tuple[str, tuple[str, ...]]) -> None:
    assert parse_plugins(text) == expected


@pytest.mark.parametrize(
    "text", ["", "==1", "a==", "a==1,", "--index-url", "a @ file:///x", "a==--pre", "../a==1", "a=1"]
)
def test_what_is_no_plugin_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot read plugins"):
        parse_plugins(text)


@pytest.mark.tt
def test_a_case_runs_on_an_older_version(tmp_path: Path) -> None:
    """The real 0.1.2, downloaded on first use. A regression that needs one device fails there as it does on 0.1.3."""
    try:
        made = environment(PluginVersion("jax-tt-plugin", "0.1.2"))
    except InstallFailed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))
    entry = load_entry(ROOT / "corpus" / "regressions" / "aa9afea4.yaml")
    again = replay(entry.case, made.runner(TargetConfig("tt", Mesh.parse("2x2")), 60.0))
    assert (again.outcome.verdict, again.bucket) == (Verdict.WRONG, entry.about.bucket)
