# SPDX-License-Identifier: Apache-2.0
"""Proving: exit codes, isolation and what is left behind."""

import os
import time

import pytest

from repros.prove import ProveError, prove


@pytest.fixture
def script(tmp_path):
    def write(text):
        path = tmp_path / "script.py"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("code", "meaning", "reproduces"),
    [
        (0, "correct", False),
        (1, "bug present", True),
        (77, "cannot run here", False),
        (3, "unknown exit code 3", False),
    ],
)
def test_only_exit_code_1_is_a_repro(script, code, meaning, reproduces):
    proof = prove(script(f"import sys; print('seen'); sys.exit({code})"))
    assert (proof.exit_code, proof.meaning, proof.reproduces) == (code, meaning, reproduces)
    assert proof.output == "seen\n"


def test_a_script_that_dies_of_a_signal_is_no_repro(script):
    proof = prove(script("import os; os.kill(os.getpid(), 11)"))
    assert (proof.meaning, proof.reproduces) == ("died of SIGSEGV", False)


def test_a_timeout_ends_the_script_and_what_it_started(script, tmp_path):
    text = "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\n"
    proof = prove(script(text + "time.sleep(60)"), timeout=2)
    assert proof.meaning == "no answer within 2 s"
    assert not proof.reproduces
    assert ended(int(proof.output))


def test_the_tail_of_long_output_is_kept(script):
    proof = prove(script("print('x' * 100_000); print('last')"))
    assert proof.output.endswith("x\nlast\n")
    assert len(proof.output) < 10_000


def test_the_script_has_a_temporary_folder_of_its_own_that_is_removed(script, tmp_path):
    text = "import os, tempfile\nopen(tempfile.mkdtemp() + '/left', 'w')\nprint(tempfile.gettempdir())"
    folders = {prove(script(text)).output.strip() for _ in range(2)}
    assert len(folders) == 2
    assert not any(os.path.exists(folder) for folder in folders)


def test_neither_the_callers_path_nor_its_backend_choice_reaches_the_script(script, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("PJRT_DEVICE", "CPU")
    text = "import os, sys; print('/ours' in sys.path, os.environ.get('PJRT_DEVICE'), os.environ['EXTRA'])"
    assert prove(script(text), environment={"EXTRA": "given"}).output == "False None given\n"


def test_a_missing_script_is_named(tmp_path):
    with pytest.raises(ProveError, match=r"nothing\.py does not exist"):
        prove(tmp_path / "nothing.py")


def ended(pid):
    """Whether the process is gone, or dead and only not yet collected by init."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False
