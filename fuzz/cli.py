# SPDX-License-Identifier: Apache-2.0
"""The command line: its commands are in `fuzz.commands`, and every failure becomes one line and an exit code here.

Exit codes: 0 nothing new, 1 findings, 2 usage, 3 environment.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from fuzz.case import MeshfuzzError
from fuzz.commands import about, corpus, findings, merge, nightly, run, scripts, verify, versions
from fuzz.commands.output import ENVIRONMENT, INTERRUPTED, NOTHING_NEW, USAGE
from fuzz.document import printable
from oracles.targets.config import TargetUnavailable

LONGEST = 2000  # characters of a message


@click.group(invoke_without_command=True)
@click.version_option(package_name="meshfuzz")
@click.pass_context
def cli(context: click.Context) -> int:
    """Find, reduce and report miscompiled tensor programs on device meshes."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return NOTHING_NEW


for command in (
    run.run,
    findings.show,
    findings.reduce_command,
    merge.merge,
    scripts.emit,
    scripts.prove,
    corpus.corpus,
    verify.verify,
    versions.matrix,
    versions.bisect_command,
    versions.bisect_step,
    nightly.nightly,
    nightly.report,
    about.faults,
    about.demo,
    about.doctor,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with its code; every expected failure is one line on stderr."""
    from fuzz.disk import FolderUnwritable
    from fuzz.lock import FolderBusy

    try:
        code = cli.main(arguments, prog_name="meshfuzz", standalone_mode=False)
    except click.ClickException as error:
        code = _fail(error.format_message(), USAGE)
    except (TargetUnavailable, FolderBusy, FolderUnwritable) as error:
        code = _fail(str(error), ENVIRONMENT)
    except MeshfuzzError as error:
        code = _fail(str(error), USAGE)
    except OSError as error:  # a disk that is full, a file that may not be read: the machine, not the compiler
        code = _fail(str(error), ENVIRONMENT)
    except (KeyboardInterrupt, click.Abort):
        code = _fail("interrupted", INTERRUPTED)
    sys.exit(code)


def _fail(message: str, code: int) -> int:
    said = printable(" ".join(message.split()))
    click.echo(f"error: {said if len(said) <= LONGEST else said[:LONGEST] + '..'}", err=True)
    return code
