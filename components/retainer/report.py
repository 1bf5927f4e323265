"""What was forgotten and what was learnt: the teacher against the student, in F1.

Every F1 is in points (0 to 100), over whole entities, micro average over the entities
of a file, or of all files together. `mean` and `worst` are over files, each counted
once, so that a large file does not hide a small one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.scorer import PRFScore
from spacy.tokens import Doc
from spacy.training import Example

from .corpus import read_docs
from .forgotten import Forgotten, compare_entities, confusions, spread
from .pipelines import Track, predict, predict_on_gold_tokens
from .scoring import count_by_type, pool, tag_paths

Counts = dict[str, PRFScore]


def count(predicted: Sequence[Doc], references: Sequence[Doc]) -> Counts:
    """What is right, per type."""
    pairs = zip(predicted, references, strict=True)
    return count_by_type(*tag_paths([Example(doc, ref) for doc, ref in pairs]))


def points(counts: Counts, types: Iterable[str]) -> float | None:
    """F1 in points, None where neither side has an entity of the types."""
    prf = pool(counts, types)
    return round(100 * prf.fscore, 2) if len(prf) else None


def difference(before: float | None, after: float | None) -> float | None:
    return None if None in (before, after) else round(after - before, 2)


def compare(before: Counts, after: Counts, types: Sequence[str]) -> dict[str, Any]:
    """F1 of the teacher and of the student over some types, and what was lost."""
    rows = {"all": types, **{kind: [kind] for kind in types}}
    table = {}
    for name, kinds in rows.items():
        first, second = points(before, kinds), points(after, kinds)
        entities = pool(before, kinds)
        table[name] = {
            "before": first,
            "after": second,
            "lost": difference(second, first),
            "entities": entities.tp + entities.fn,
        }
    return {**table.pop("all"), "by_type": table}


def learnt(counts: Counts, types: Sequence[str]) -> dict[str, Any]:
    """Precision, recall and F1 of the student in points, over all and each type."""

    def row(kinds: Sequence[str]) -> dict[str, float | int | None]:
        prf = pool(counts, kinds)
        scores = {"p": prf.precision, "r": prf.recall, "f1": prf.fscore}
        return {
            **{
                key: round(100 * x, 2) if len(prf) else None
                for key, x in scores.items()
            },
            "entities": prf.tp + prf.fn,
        }

    return {**row(types), "by_type": {kind: row([kind]) for kind in types}}


def merge(counts: Iterable[Counts]) -> Counts:
    merged: Counts = {}
    for part in counts:
        for kind, prf in part.items():
            merged[kind] = merged.get(kind, PRFScore()) + prf
    return merged


def file_names(files: Sequence[Path]) -> list[str]:
    """A file's stem, which is its language as a rule; all of it where stems repeat."""
    stems = [file.stem for file in files]
    return stems if len(set(stems)) == len(stems) else [str(file) for file in files]


@dataclass
class Measured:
    """One file: the teacher's counts and the student's, on raw text.

    on_gold_tokens: the student's, on the tokens of the file. forgotten: on raw text.
    """

    before: Counts
    after: Counts
    on_gold_tokens: Counts
    forgotten: Forgotten = field(default_factory=Forgotten)


def measure_files(
    teacher: Language, student: Language, files: Sequence[Path], track: Track
) -> dict[str, Measured]:
    """By file, in the order of the files."""
    old_types = teacher.get_pipe("transformer_ner").labels
    measured = {}
    for name, file in zip(file_names(files), files, strict=True):
        references = list(read_docs(file, student))
        before = predict(teacher, references, track)
        after = predict(student, references, track)
        gold = predict_on_gold_tokens(student, after, references, track)
        measured[name] = Measured(
            *(count(docs, references) for docs in (before, after, gold)),
            compare_entities(references, before, after, old_types),
        )
    return measured


def token_scores(files: dict[str, Measured]) -> dict[str, Any]:
    """F1 of the student on raw text and on gold tokens, over all types, by file."""
    scores = {}
    for name, file in files.items():
        raw = points(file.after, file.after)
        gold = points(file.on_gold_tokens, file.on_gold_tokens)
        scores[name] = {"raw": raw, "gold": gold, "lost": difference(raw, gold)}
    return scores


def forgetting(files: dict[str, Measured], old_types: list[str]) -> dict[str, Any]:
    """What the student lost of the old types, and where it sees other ones."""
    by_file = {}
    for name, file in files.items():
        others = pool(file.after, set(file.after) - set(old_types))
        by_file[name] = compare(file.before, file.after, old_types)
        by_file[name]["new_types_found"] = others.tp + others.fp
    lost = [row["lost"] for row in by_file.values() if row["lost"] is not None]
    return {
        "mean": round(sum(lost) / len(lost), 2) if lost else None,
        "worst": max(lost, default=None),
        "by_file": by_file,
    }


def build_report(
    teacher: Language,
    student: Language,
    new: Sequence[Path],
    old: Sequence[Path],
    track: Track = lambda docs, total: docs,
) -> dict[str, Any]:
    """Score both on files of the new and of the old domain, from raw text.

    track: is given the Docs to iterate and their number, and may show the progress.
    """
    old_types = list(teacher.get_pipe("transformer_ner").labels)
    known = student.get_pipe("transformer_ner").labels
    new_types = [kind for kind in known if kind not in old_types]
    old_files = measure_files(teacher, student, old, track)
    new_files = measure_files(teacher, student, new, track)
    domains = {"old": old_files, "new": new_files}
    before = merge(file.before for file in new_files.values())
    after = merge(file.after for file in new_files.values())
    every = merge(f.after for f in (*old_files.values(), *new_files.values()))
    unknown = {kind: every[kind].fn for kind in sorted(set(every) - set(known))}
    return {
        "old_types": old_types,
        "new_types": new_types,
        "unknown_types": unknown,
        "forgetting": forgetting(old_files, old_types),
        "new": learnt(after, new_types)
        | {"by_file": {k: learnt(v.after, new_types) for k, v in new_files.items()}},
        "old_in_new": compare(before, after, old_types)
        | {
            "by_file": {
                k: compare(v.before, v.after, old_types) for k, v in new_files.items()
            }
        },
        "confusions": {
            domain: confusions(
                {k: f.forgotten.fates for k, f in files.items()}, old_types
            )
            for domain, files in domains.items()
        },
        "examples": spread(
            {"domain": domain, "file": name, **example}
            for domain, files in domains.items()
            for name, file in files.items()
            for example in file.forgotten.examples
        ),
        "tokens": {domain: token_scores(files) for domain, files in domains.items()},
    }
