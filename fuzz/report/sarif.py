# SPDX-License-Identifier: Apache-2.0
"""A night as SARIF 2.1.0 (OASIS), which code scanning services show: a rule and a result per bucket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fuzz.document import printable
from fuzz.report.night import Night, Standing, Subject
from fuzz.report.words import headline, ops
from oracles.outcome import Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
# Of a result, seen from the run before (section 3.27.24).
BASELINE = {
    Standing.NEW: "new",
    Standing.REGRESSED: "new",
    Standing.PENDING: "new",
    Standing.KNOWN: "unchanged",
    Standing.FIXED: "absent",
}
# Compilers that refuse a program do less harm than those that compile it wrongly.
LEVELS = {Verdict.COMPILE_ERROR: "warning", Verdict.SUSPECTED: "note"}
FINGERPRINT = "meshfuzzBucket/v1"


def sarif(night: Night) -> str:
    """The log of one run."""
    driver: dict[str, Any] = {
        "name": "meshfuzz",
        "version": night.versions.get("meshfuzz", "0"),
        "rules": [_rule(subject) for subject in night.subjects],
    }
    if night.links:
        driver["informationUri"] = night.links
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"meshfuzz/{night.name}"},
        "invocations": [_invocation(night)],
        "results": [_result(number, subject) for number, subject in enumerate(night.subjects)],
        "columnKind": "unicodeCodePoints",
        "properties": {"target": str(night.settings.target), "seed": night.settings.seed, "cases": night.cases},
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1) + "\n"


def _invocation(night: Night) -> Mapping[str, Any]:
    told: dict[str, Any] = {"executionSuccessful": not night.environment}
    if night.environment:
        told["toolExecutionNotifications"] = [{"level": "error", "message": _message(night.environment)}]
    return told


def _rule(subject: Subject) -> Mapping[str, Any]:
    finding = subject.finding
    return {
        "id": finding.id,
        "name": str(finding.outcome.verdict),
        "shortDescription": _message(headline(finding)),
        "fullDescription": _message(finding.key),
        "defaultConfiguration": {"level": _level(subject)},
    }


def _result(number: int, subject: Subject) -> Mapping[str, Any]:
    finding, outcome = subject.finding, subject.finding.outcome
    said = [headline(finding)]
    if finding.explanation is not None and finding.explanation.sentence not in said[0]:
        said.append(finding.explanation.sentence)
    if finding.localisation is not None:
        said.append(str(finding.localisation))
    if subject.detail:
        said.append(subject.detail)
    places = [("op", ops(finding.case)), ("stage", outcome.stage), ("step", outcome.transition)]
    return {
        "ruleId": finding.id,
        "ruleIndex": number,
        "level": _level(subject),
        "message": _message(". ".join(said)),
        "baselineState": BASELINE[subject.standing],
        "partialFingerprints": {FINGERPRINT: finding.id},
        "occurrenceCount": max(1, finding.count),
        "locations": [
            {
                "physicalLocation": {
                    # A service wants a file and a line; the case is what there is.
                    "artifactLocation": {"uri": quote(_file(subject))},
                    "region": {"startLine": 1},
                },
                "logicalLocations": [
                    {"name": printable(name), "kind": kind, "fullyQualifiedName": f"{kind}:{printable(name)}"}
                    for kind, name in places
                    if name
                ],
            }
        ],
        "properties": {
            "standing": str(subject.standing),
            "verdict": str(outcome.verdict),
            "bucket": printable(finding.key),
            "firstSeen": subject.nights.first,
            "lastSeen": subject.nights.last,
        },
    }


def _file(subject: Subject) -> str:
    """The case's file in the night's folder; of what is not handed over, the name that it would have."""
    case = next((piece.path for piece in subject.pieces if piece.name == "minimal case" and piece.path), "")
    return case or f"issues/{subject.finding.id}.yaml"


def _level(subject: Subject) -> str:
    return LEVELS.get(subject.finding.outcome.verdict, "error")


def _message(text: str) -> Mapping[str, str]:
    return {"text": printable(text) or "no message"}
