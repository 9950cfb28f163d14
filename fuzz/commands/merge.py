# SPDX-License-Identifier: Apache-2.0
"""`meshfuzz merge`: the campaigns of several machines as one."""

from __future__ import annotations

from pathlib import Path

import click

from fuzz.commands.output import NOTHING_NEW, say, show_text
from fuzz.document import printable


@click.command()
@click.argument(
    "campaigns", nargs=-1, required=True, metavar="FOLDER|FILE ...", type=click.Path(exists=True, path_type=Path)
)
@click.option(
    "--dir",
    "directory",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to make; it can be shown, reported, emitted, verified and merged, but not resumed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was merged as JSON.")
def merge(campaigns: tuple[Path, ...], directory: Path, as_json: bool) -> int:
    """Put campaigns of several machines together: their folders, or the campaign.db in them.

    Cases that are in more than one are counted once, findings are united, scripts and minimal cases come along. The
    order does not matter, and what was merged before changes nothing.
    """
    from fuzz.merge import merge as merged
    from fuzz.strategies.sampling import sample

    done = merged(campaigns, directory, sample)
    if as_json:
        show_text("", done.to_plain())
        return NOTHING_NEW
    for seed, number, verdicts in done.disagreements:
        say(printable(f"case {number} of seed {seed} was {' and '.join(verdicts)}: what failed is kept"), err=True)
    seeds = f"seed{'s' * (len(done.seeds) > 1)} {', '.join(map(str, done.seeds))}"
    say(
        f"{done.campaigns} campaigns of {seeds}: {done.cases} cases, {done.shared} of them in more than one, "
        f"{done.findings} findings"
    )
    say(f"meshfuzz show --dir {directory}")
    return NOTHING_NEW
