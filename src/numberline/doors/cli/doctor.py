"""`numberline doctor`: prove that stock, rentals, holds and the books agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from numberline.doors.cli.home import HomeOption, JsonOption, with_store
from numberline.doors.cli.terminal import counted, print_json, print_table, say, spinner

if TYPE_CHECKING:
    from numberline.store.audit import AuditReport


def doctor(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Audit the store, also while a server runs on it; exit code 1 when anything disagrees."""
    from numberline.store.audit import audit  # noqa: PLC0415 - the store is slow to load

    with spinner("Auditing the store"):
        report = with_store(home, audit)
    if as_json:
        _print_json(report)
    else:
        _print(report)
    if not report.is_clean:
        raise typer.Exit(1)


def _print(report: AuditReport) -> None:
    print_table(("Looked at", "How many"), ((name, count) for name, count in report.counts.items()))
    if report.is_clean:
        say("Everything agrees.")
        return
    print_table(("Check", "Subject", "Finding"), ((f.check, f.subject, f.message) for f in report.findings))
    say(f"{counted(len(report.findings), 'finding')}.")


def _print_json(report: AuditReport) -> None:
    print_json(
        {
            "clean": report.is_clean,
            "counts": report.counts,
            "findings": [
                {"check": found.check, "subject": found.subject, "message": found.message}
                for found in report.findings
            ],
        }
    )
