# SPDX-License-Identifier: Apache-2.0
"""The page of a night for a campaign that was none: no history, no verification, nothing beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fuzz.account import EXPLAINED
from fuzz.finding import Finding, State
from fuzz.folder import write_folder
from fuzz.nightly.outputs import texts
from fuzz.publish import Export
from fuzz.report.html import Campaign
from fuzz.report.night import Night, Standing, Subject, by_sharding
from fuzz.report.night_page import night_page
from fuzz.settings import Budget, Settings
from fuzz.store import SKIPPED, Store
from oracles.targets.environment import versions

STANDINGS = {State.NEW: Standing.PENDING, State.KNOWN: Standing.KNOWN}


def campaign_page(store: Store, settings: Settings, budget: Budget, export: Export) -> str:
    """The page. `export` may refuse: then it has the scripts that the campaign wrote, and no others."""
    counts = store.counts()
    found = Campaign(store.findings(), settings, budget, counts)
    with tempfile.TemporaryDirectory(prefix="meshfuzz-report-") as folder:
        subjects = [
            _subject(finding, texts(Path(folder), pieces))
            for finding, pieces in write_folder(found, store.directory, Path(folder), export)
        ]
    order = list(Standing)
    return night_page(
        Night(
            name=store.directory.resolve().name,
            settings=settings,
            versions=versions(),
            cases=sum(count for verdict, count in counts.items() if verdict != SKIPPED),
            seconds=store.elapsed,
            counts=counts,
            subjects=sorted(subjects, key=lambda subject: order.index(subject.standing)),
            messages={str(v): said for v in EXPLAINED if (said := store.messages(v))},
            coverage=by_sharding(store.coverage()),
            made={"target": str(settings.target), "seed": str(settings.seed), "ops": ", ".join(settings.space.ops)},
        )
    )


def _subject(finding: Finding, found: dict[str, str]) -> Subject:
    return Subject(finding, STANDINGS.get(finding.state, Standing.NEW), True, texts=found)
