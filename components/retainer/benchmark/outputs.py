"""What a benchmark writes: tables for people, and every single run for programs."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import srsly

from ..files import write_text
from ..inspection.tables import Table
from ..markdown import to_table
from .figures import percentile
from .processes import Measured

PACKAGES = ("retainer", "torch", "transformers", "spacy", "thinc")
BULKY = ("spans", "calls_ms")  # of a result: not written, but for their figures


def write_outputs(
    output: Path,
    subject: str,
    settings: Mapping[str, Any],
    measured: Measured,
    tables: Sequence[Table],
    notes: Sequence[str] = (),
) -> str:
    """Write OUTPUT/SUBJECT.md and .json. RETURNS: the Markdown."""
    around = {**settings, **machine()}
    parts = [f"# {subject}", describe(around), *notes]
    for table in tables:
        parts += [f"{table.caption}:", to_table(table)]
    parts += [f"- {name} did not run: {x}" for name, x in measured.failures.items()]
    text = "\n\n".join(parts) + "\n"
    records = {
        "subject": subject,
        "settings": around,
        "runs": list_runs(measured),
        "failures": measured.failures,
    }
    write_text(text, output / f"{subject}.md")
    write_text(srsly.json_dumps(records, indent=2) + "\n", output / f"{subject}.json")
    return text


def list_runs(measured: Measured) -> list[dict[str, Any]]:
    listed = []
    for name, runs in measured.runs.items():
        for round_i, run in enumerate(runs, start=1):
            told = {key: run.result[key] for key in run.result if key not in BULKY}
            if calls := run.result.get("calls_ms"):
                told["call_ms_median"] = median(calls)
                told["call_ms_p99"] = percentile(calls, 0.99)
            listed.append(
                {
                    "contender": name,
                    "round": round_i,
                    "process_seconds": run.seconds,
                    "cpu_seconds": run.cpu_seconds,
                    "peak_mb": run.peak,
                    **told,
                }
            )
    return listed


def describe(around: Mapping[str, Any]) -> str:
    """Example: {"runs": 3, "threads": 2} -> "runs 3, threads 2" """
    return ", ".join(f"{key} {value}" for key, value in around.items())


def machine() -> dict[str, Any]:
    """load: how many processes ran at the end, in the last minute's mean; if it is much
    above the threads, something else was running."""
    known = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    known |= {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known
