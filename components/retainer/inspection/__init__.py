"""What a corpus is like, and what it will do to a training: the figures.

Shares are 0 to 1, or null of nothing; a place is "file:line"; an example has `before`,
`entity`, `after` and `place`. "Seen", "known" and "pieces" are the checkpoint's. Keys:

findings        what to act on: `level` (warning, note) and `text`
faults          by file that has any: how many of each kind (see `faults.REMEDIES`)
regime          null without a checkpoint (see `regime` for verdicts and counts):
                `verdict`, `texts`, `asked`, `share_sure` of the finds, `share_recalled`
                of the gold entities, `types`, `files` (both by teacher type: `gold`,
                `open`, `verdict`; `types` also `recalled`, `found`, `sure`, `exact`,
                `overlapping`, `other_type`, `unknown`, `share_annotated`,
                `confusions`, `examples`)
splits          by split: `texts`, `blank_texts`, `texts_without_entities`, `tokens`,
                `entities`, `entities_per_1000_tokens`, `o`, `o_share`, `missing`
                (tokens without annotation), `missing_share`, `scripts` (texts by
                writing system), `files` (by file: `texts`, `tokens`, `entities`,
                `scripts`)
types           by entity type: how many entities, by split
lengths         `unit` (pieces, or tokens without a checkpoint), `window` (its pieces
                but for special ones, or null), `edges` of the histograms, half-open,
                `splits` (`median`, `p95`, `max`, `several_windows`, `histogram`),
                `longest`, `long_entities`, `long_entity_examples`
unseen          null without a checkpoint: `tokens`, `no_pieces`, `no_pieces_blank`
                (white space), `unknown_pieces`, `entities`, `entities_unseen` (as a
                whole), `entities_unknown` (in part), `scripts` (of tokens),
                `top_no_pieces`, `top_unknown_pieces`
duplicates      by split: `texts` that repeat one, white space and case aside;
                `contradicting` groups of them; `examples`
leaks           by pair of splits: `texts` of `second` that are in `first` too, `of`,
                `share`, `contradicting`, `examples`
seen_entities   by split but train: `entities`, `seen` in train with the same type,
                `share`, `types`
conflicts       `types`: `surfaces` with several types, `entities` in the rarer ones,
                `top`; `open`: `surfaces` that are O in places, in half of them at
                most, `occurrences` as O, `ambiguous_surfaces` (O in most), `top`
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..faults import FileLog, count_kinds
from . import findings, repeats
from .coverage import measure_coverage
from .entries import Entry, Splits, entry_of, script_of, share
from .regime import Track, find_regime

LIMIT = 2000  # texts that the teacher is asked about


def inspect_corpus(
    splits: Mapping[str, Mapping[str, Iterable[Doc]]],
    teacher: Language | None = None,
    limit: int = LIMIT,
    track: Track = lambda items, total: items,
    logs: Sequence[FileLog] = (),
) -> dict[str, Any]:
    """splits: the Docs of each file of train, dev and test; each is read once.

    teacher: made by `pipelines.load_teacher`. logs: of the files, which tell their
    faults when the Docs have been read. track: is given things to iterate and their
    number, and may show the progress.
    """
    entries = {
        split: [entry_of(doc, file) for file, docs in files.items() for doc in docs]
        for split, files in splits.items()
    }
    regime = None
    if teacher is not None:
        regime = find_regime(teacher, entries["train"], limit, track)
    lengths, unseen = measure_coverage(entries, teacher, track)
    groups = {split: repeats.group(of_split) for split, of_split in entries.items()}
    figures = {
        "faults": {log.path: count_kinds(log.faults) for log in logs if log.faults},
        "regime": regime,
        "splits": {split: _describe(of_split) for split, of_split in entries.items()},
        "types": count_types(entries),
        "lengths": lengths,
        "unseen": unseen,
        "duplicates": repeats.find_duplicates(groups),
        "leaks": repeats.find_leaks(groups),
        "seen_entities": repeats.find_seen(entries),
        "conflicts": repeats.find_conflicts(entries),
    }
    return {"findings": findings.find(figures), **figures}


def count_types(splits: Splits) -> dict[str, dict[str, int]]:
    """How many entities of each type each split has, types with most first."""
    counts = {
        split: Counter(ent.label for entry in entries for ent in entry.ents)
        for split, entries in splits.items()
    }
    total = sum(counts.values(), Counter())
    kinds = sorted(total, key=lambda kind: (-total[kind], kind))
    return {kind: {split: n[kind] for split, n in counts.items()} for kind in kinds}


def _describe(entries: Sequence[Entry]) -> dict[str, Any]:
    files: dict[str, list[Entry]] = {}
    for entry in entries:
        files.setdefault(entry.file, []).append(entry)
    whole = _count(entries)
    n_tokens, n_entities = whole["tokens"], whole["entities"]
    missing = sum(len(entry.missing) for entry in entries)
    inside = sum(ent.end - ent.start for entry in entries for ent in entry.ents)
    n_outside = n_tokens - inside - missing
    return {
        **whole,
        "blank_texts": sum(not entry.text.strip() for entry in entries),
        "texts_without_entities": sum(not entry.ents for entry in entries),
        "entities_per_1000_tokens": round(1000 * n_entities / max(n_tokens, 1)),
        "o": n_outside,
        "o_share": share(n_outside, n_tokens),
        "missing": missing,
        "missing_share": share(missing, n_tokens),
        "files": {file: _count(of_file) for file, of_file in files.items()},
    }


def _count(entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "texts": len(entries),
        "tokens": sum(len(entry.words) for entry in entries),
        "entities": sum(len(entry.ents) for entry in entries),
        "scripts": dict(
            Counter(script_of(entry.text) for entry in entries).most_common()
        ),
    }
