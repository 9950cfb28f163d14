# SPDX-License-Identifier: Apache-2.0
"""Finding plugins, and preparing the TT compiler: once, completely or not at all, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from fuzz.case import Mesh
from oracles.targets import environment
from oracles.targets.config import TargetConfig, TargetUnavailable
from oracles.targets.environment import (
    cache_folder,
    check_plugin,
    chips,
    discard_assets,
    find_tt_plugin,
    plugin_variables,
    plugin_version,
    prepare,
    prepare_compile_only,
    versions,
)
from oracles.targets.mock_cluster import GRIDS, descriptor

MESH = Mesh.parse("2x2")
ROOT = Path(__file__).parents[2]
# Stands in for the plugin's start: leaves its environment and an unpacked asset behind, as the real one does.
STARTS = """
import os, pathlib, sys
pathlib.Path("libtt-tt-metal-runtime-assets-0").mkdir()
with open(os.environ["RECORD"], "a") as record:
    print(os.environ["TMPDIR"], os.getcwd(), os.environ.get("TT_COMPILE_ONLY_SYSTEM_DESC"), file=record)
pathlib.Path(sys.argv[2]).write_text(pathlib.Path(os.environ["TT_METAL_MOCK_CLUSTER_DESC_PATH"]).read_text())
"""
FAILS = "import sys; print('noise', file=sys.stderr); sys.exit('No such board')"
HANGS = """
import os, pathlib, time
pathlib.Path("libtt-tt-metal-runtime-assets-0").mkdir()
pathlib.Path(os.environ["RECORD"]).touch()
time.sleep(600)
"""
PREPARE_IN_A_PROCESS = """
import sys
from pathlib import Path
from fuzz.case import Mesh
from oracles.targets import environment
environment.PREPARATION = Path(sys.argv[1])
environment.prepare_compile_only(Path(sys.argv[2]), Mesh.parse("2x2"))
"""


def shared_object(path: Path, *, kind: int = 3, machine: bytes | None = None) -> Path:
    """A file with the header of a shared object for this machine."""
    with Path(sys.executable).open("rb") as stream:
        header = bytearray(stream.read(64))
    header[16:18] = kind.to_bytes(2, sys.byteorder)
    if machine is not None:
        header[18:20] = machine
    path.write_bytes(bytes(header))
    return path


def text_file(path: Path) -> Path:
    path.write_text("a script, say")
    return path


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plugin with an empty cache of its own and a record of its starts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("TT_COMPILE_ONLY_SYSTEM_DESC", "/must/not/be/inherited")
    return shared_object(tmp_path / "plugin.so")


def stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> Path:
    path = folder / "stand_in.py"
    path.write_text(script)
    monkeypatch.setattr(environment, "PREPARATION", path)
    return path


def starts(folder: Path) -> list[str]:
    return (folder / "record").read_text().splitlines()


# --- plugins ---------------------------------------------------------------------------------------------------------


def test_a_shared_object_for_this_machine_is_accepted(tmp_path: Path) -> None:
    path = shared_object(tmp_path / "plugin.so")
    assert check_plugin(path) == path.resolve()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path, "cannot be read: No such file"),
        (lambda path: path.parent, "cannot be read: Is a directory"),
        (text_file, "not a shared object"),
        (lambda path: shared_object(path, kind=1), "not a shared object"),
        (lambda path: shared_object(path, machine=b"\xfe\xfe"), "built for another machine"),
    ],
)
def test_a_file_that_cannot_be_a_plugin_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(TargetUnavailable, match=message) as refusal:
        check_plugin(make(tmp_path / "plugin.so"))
    assert "\n" not in str(refusal.value)


def test_without_any_plugin_the_message_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "TT_PLUGINS", (("no_such_parent.libtt", "libtt.so", "none"),))
    with pytest.raises(TargetUnavailable, match=r"pip install 'meshfuzz\[tt\]' or pass --plugin PATH"):
        find_tt_plugin()


def test_the_vendors_wheel_comes_first_and_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "pjrt_plugin_tt"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('importing it starts tt-metal')")
    wanted = shared_object(package / "pjrt_plugin_tt.so")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_tt_plugin() == wanted.resolve()


def test_a_plugin_that_no_package_brought_is_named_by_its_content(tmp_path: Path) -> None:
    first, second = shared_object(tmp_path / "a.so"), shared_object(tmp_path / "b.so", kind=1)
    assert plugin_version(first).startswith("a.so ")
    assert plugin_version(first).split()[1] != plugin_version(second).split()[1]


@pytest.mark.tt
def test_the_installed_plugin_is_named_by_its_package() -> None:
    assert plugin_version(find_tt_plugin()).split()[0] in ("jax-tt-plugin", "pjrt-plugin-tt")


def test_run_time_files_beside_the_plugin_are_announced_unless_the_user_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tt-metal").mkdir()
    monkeypatch.delenv("TT_METAL_RUNTIME_ROOT", raising=False)
    assert plugin_variables(tmp_path / "plugin.so")["TT_METAL_RUNTIME_ROOT"] == str(tmp_path / "tt-metal")
    monkeypatch.setenv("TT_METAL_RUNTIME_ROOT", "/elsewhere")
    assert "TT_METAL_RUNTIME_ROOT" not in plugin_variables(tmp_path / "plugin.so")


def test_versions_leave_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "DISTRIBUTIONS", ("torch", "no-such-distribution"))
    found = versions()
    assert {"python", "torch"} <= set(found)
    assert "no-such-distribution" not in found


def test_chips_are_the_numbered_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0", "1", "by-id"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(environment, "CHIPS", tmp_path)
    assert chips() == 2
    monkeypatch.setattr(environment, "CHIPS", tmp_path / "absent")
    assert chips() == 0


# --- mock clusters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "columns"), GRIDS)
def test_neighbours_in_the_grid_and_only_they_are_wired_twice(rows: int, columns: int) -> None:
    cluster = yaml.safe_load(descriptor(Mesh((rows, columns), ("x", "y"))))
    wires = [(here["chip"], there["chip"]) for here, there in cluster["ethernet_connections"]]
    right = [(c, c + 1) for c in range(rows * columns) if (c + 1) % columns]
    down = [(c, c + columns) for c in range((rows - 1) * columns)]
    assert sorted(wires) == sorted((right + down) * 2)
    ends = [(end["chip"], end["chan"]) for wire in cluster["ethernet_connections"] for end in wire]
    assert len(set(ends)) == len(ends)
    assert set(cluster["arch"]) == set(range(rows * columns))


def test_bus_ids_are_bare_hexadecimal() -> None:
    """tt-metal reads neither quoted nor decimal ones."""
    assert "chip_to_bus_id:\n  0: 0x0001\n  1: 0x0011\n" in descriptor(MESH)


def test_a_grid_without_a_mock_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(TargetUnavailable, match=r"unknown mesh 3x3 .* 1x1, 1x2, 2x2, 1x4, 1x8, 2x4"):
        descriptor(Mesh.parse("3x3"))


# --- preparation -----------------------------------------------------------------------------------------------------


def test_a_preparation_is_announced_in_one_line_and_made_once(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, tmp_path, STARTS)
    first = prepare_compile_only(plugin, MESH)
    assert capsys.readouterr().err.count("\n") == 1
    assert prepare_compile_only(plugin, MESH) == first
    assert capsys.readouterr().err == ""
    assert len(starts(tmp_path)) == 1
    assert first.read_text() == descriptor(MESH)


def test_the_plugin_starts_in_a_folder_of_its_own_and_as_a_mock(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inherited, the compile-only variable would win over the mock; tt-metal litters its working folder."""
    stand_in(monkeypatch, tmp_path, STARTS)
    prepare_compile_only(plugin, MESH)
    temporary, working, compile_only = starts(tmp_path)[0].split()
    assert temporary == working == str(cache_folder(plugin) / "preparation")
    assert compile_only == "None"


def test_two_processes_that_need_it_at_once_prepare_it_once(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, STARTS.replace("import", "import time; time.sleep(0.2)\nimport", 1))
    with ThreadPoolExecutor(3) as executor:
        found = set(executor.map(lambda _: prepare_compile_only(plugin, MESH), range(3)))
    assert len(found) == len(starts(tmp_path)) == 1


def test_a_plugin_that_does_not_start_leaves_its_last_line_and_nothing_in_the_cache(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, FAILS)
    with pytest.raises(TargetUnavailable, match=r"does not start on a mock 2x2 mesh: exit code 1: No such board; see"):
        prepare_compile_only(plugin, MESH)
    assert not list(cache_folder(plugin).glob("*.ttsys"))
    stand_in(monkeypatch, tmp_path, STARTS)
    assert prepare_compile_only(plugin, MESH).exists()


def test_a_plugin_that_crashes_is_reported_with_its_signal(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(TargetUnavailable, match="SIGSEGV"):
        prepare_compile_only(plugin, MESH)


def test_a_killed_preparation_neither_blocks_nor_leaves_anything_to_trust(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = stand_in(monkeypatch, tmp_path, HANGS)
    process = subprocess.Popen(
        [sys.executable, "-c", PREPARE_IN_A_PROCESS, str(script), str(plugin)],
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "record").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (tmp_path / "record").exists()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not list(cache_folder(plugin).glob("*.ttsys"))
    # STARTS makes the asset folder anew, so this also shows that the old one is gone.
    stand_in(monkeypatch, tmp_path, STARTS)
    assert prepare_compile_only(plugin, MESH).exists()


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(TargetUnavailable, match="set XDG_CACHE_HOME"):
        prepare_compile_only(plugin, MESH)


def test_another_build_of_the_plugin_has_a_cache_of_its_own(plugin: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.so"
    other.write_bytes(plugin.read_bytes() + b"\0")
    assert cache_folder(plugin) != cache_folder(other)


def test_a_relative_cache_folder_is_ignored(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG specification demands; it would be another one in every working folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert cache_folder(plugin).is_relative_to(Path.home() / ".cache")


def test_assets_unpacked_by_a_compiler_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("libtt-tt-metal-runtime-assets-1", "stages-1"):
        (tmp_path / name).mkdir()
    discard_assets(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["stages-1"]


def test_targets_other_than_the_mock_need_no_preparation(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, tmp_path, STARTS)
    prepare(TargetConfig("cpu", MESH, mock=False))
    prepare(TargetConfig("tt", MESH, str(plugin), mock=False))
    assert not (tmp_path / "record").exists()
    prepare(TargetConfig("tt", MESH, str(plugin), mock=True))
    assert len(starts(tmp_path)) == 1


@pytest.mark.tt
def test_the_real_plugin_can_be_prepared_and_then_at_once() -> None:
    """Uses the user's cache: from nothing it takes minutes."""
    plugin = find_tt_plugin()
    prepared = prepare_compile_only(plugin, MESH)
    assert prepared.stat().st_size > 500
    began = time.monotonic()
    assert prepare_compile_only(plugin, MESH) == prepared
    assert time.monotonic() - began < 5
