"""What a user should act on, in plain words, from the figures of an inspection."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

FEW = 20  # training entities of a type
ENOUGH = 20  # entities, to say anything about shares of them
UNSURE = 0.25  # share of the teacher's finds that it is sure of
WEAK_RECALL = 0.3  # share of gold entities of its types that it finds
SAME = 0.5  # share of a teacher type's sure finds that are annotated otherwise
SEEN = 0.8  # share of an evaluation split's entities that occur in training
UNKNOWN = 0.01  # share of tokens with unknown pieces
ADVICE = {
    "annotated": "Training may take O at its word.",
    "not annotated": "To training, O says that they are no entities, and plain "
    "fine-tuning forgets them: train with a teacher, and do not choose a checkpoint "
    "by its scores on files annotated like this.",
    "partly annotated": "O says little about them: annotate the rest, or train as if "
    "none were annotated.",
    "absent": "Measure on other texts what becomes of them.",
}

Figures = dict[str, Any]
Found = Iterator[tuple[str, str]]  # "warning" or "note", and a sentence or two


def find(figures: Figures) -> list[dict[str, str]]:
    """The regime first, then warnings, then notes."""
    parts: tuple[Callable[[Figures], Found], ...] = (
        *(_of_faults, _of_teacher, _of_leaks, _of_splits, _of_types),
        *(_of_windows, _of_pieces, _of_conflicts),
    )
    found = [item for part in parts for item in part(figures)]
    found.sort(key=lambda item: item[0] != "warning")
    return [
        {"level": level, "text": text} for level, text in [*_of_regime(figures), *found]
    ]


def percent(part: float | None) -> str:
    """Example: 0.5 -> "50%"; 0.004 -> "0.4%"; 0.0001 -> "<0.1%"; None -> "-" """
    if part is None:
        return "-"
    if 0 < part < 0.001:
        return "<0.1%"
    return f"{part:.0%}" if part in (0, 1) or part >= 0.1 else f"{part:.1%}"


def count(n: int, noun: str) -> str:
    """Example: 1, "text" -> "1 text"; 1200, "entity" -> "1,200 entities" """
    many = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else many}"


def names(items: Iterable) -> str:
    """Example: ["a", "b", "c"] -> "a, b and c" """
    *others, last = map(str, items)
    return f"{', '.join(others)} and {last}" if others else last


def _of_faults(figures: Figures) -> Found:
    for path, kinds in figures["faults"].items():
        listed = ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())
        n_faults = count(sum(kinds.values()), "fault")
        yield (
            "warning",
            f"{path}: {n_faults} ({listed}): scripts/convert.py lists them.",
        )


def _of_regime(figures: Figures) -> Found:
    regime = figures["regime"]
    if regime is None:
        return
    rows, where = regime["types"], f"In {count(regime['asked'], 'train text')},"
    by_verdict: dict[str, list[str]] = {}
    for kind, row in rows.items():
        by_verdict.setdefault(row["verdict"], []).append(kind)
    if len(by_verdict) > 1:
        yield "note", f"The old types are {regime['verdict']} over all: see each."
    for verdict, kinds in by_verdict.items():
        n_gold, n_open = (sum(rows[k][key] for k in kinds) for key in ("gold", "open"))
        level = "note" if verdict in ("annotated", "absent") else "warning"
        yield (
            level,
            f"{names(kinds)}: {verdict}. {where} {count(n_gold, 'entity')} annotated "
            f"as such, and {n_open:,} more on O by the teacher's reckoning. "
            f"{ADVICE[verdict]}",
        )
    for file, row in regime["files"].items() if len(regime["files"]) > 1 else ():
        other = [
            f"{kind} {of['verdict']}"
            for kind, of in row.items()
            if "absent" not in (of["verdict"], rows[kind]["verdict"])
            and of["verdict"] != rows[kind]["verdict"]
        ]
        if other:
            yield "warning", f"Unlike the whole, {file} has {names(other)}."


def _of_teacher(figures: Figures) -> Found:
    regime = figures["regime"]
    if regime is None:
        return
    rows = regime["types"]
    n_found, n_gold = (sum(r[key] for r in rows.values()) for key in ("found", "gold"))
    is_unsure = n_found >= ENOUGH and regime["share_sure"] < UNSURE
    is_weak = n_gold >= ENOUGH and regime["share_recalled"] < WEAK_RECALL
    if is_unsure or is_weak:
        signs = []
        if n_found:
            signs = [f"is sure of {percent(regime['share_sure'])} of what it finds"]
        if n_gold:
            part = percent(regime["share_recalled"])
            signs.append(f"surely finds {part} of {n_gold:,} annotated entities")
        yield (
            "warning",
            f"The teacher reads these texts badly: it {names(signs)}. Doubt the "
            "verdicts, and expect little of distillation here.",
        )
    for kind, row in rows.items():
        if row["sure"] < ENOUGH or row["other_type"] < SAME * row["sure"]:
            continue
        others = names(f"{k} ({n:,})" for k, n in list(row["confusions"].items())[:3])
        is_one = max(row["confusions"].values()) >= SAME * row["sure"]
        advice = f"If that is the same, call it {kind} in the corpus. "
        yield (
            "warning",
            f"{row['other_type']:,} of {row['sure']:,} {kind} that the teacher is sure "
            f"of have other types in the corpus: {others}. "
            f"{advice if is_one and not row['gold'] else ''}There the teacher and the "
            "annotation pull apart.",
        )


def _of_leaks(figures: Figures) -> Found:
    for leak in figures["leaks"].values():
        if leak["texts"]:
            yield (
                "warning",
                f"{leak['texts']:,} of {leak['of']:,} {leak['second']} texts "
                f"({percent(leak['share'])}) are also in {leak['first']}: remove them "
                "from one of the two.",
            )
    for split, row in figures["duplicates"].items():
        if row["contradicting"]:
            yield (
                "warning",
                f"{count(row['contradicting'], 'text')} of {split} with different "
                "annotation in different places: correct them.",
            )
        if row["texts"]:
            yield "note", f"{count(row['texts'], 'text')} of {split} repeat others."
    for split, row in figures["seen_entities"].items():
        if row["entities"] >= ENOUGH and row["share"] >= SEEN:
            yield (
                "warning",
                f"{percent(row['share'])} of the entities of {split} stand in train "
                "word for word: its scores say little about new ones.",
            )


def _of_splits(figures: Figures) -> Found:
    known = figures["splits"]["train"]["scripts"]
    for split, row in figures["splits"].items():
        if row["missing"]:
            yield (
                "note",
                f"{count(row['missing'], 'token')} of {split} "
                f"({percent(row['missing_share'])}) without annotation, not even O: "
                "losses and scores leave them out.",
            )
        if row["blank_texts"]:
            yield "note", f"{count(row['blank_texts'], 'blank text')} in {split}."
        for script, n in row["scripts"].items():
            if script not in known and n >= FEW:
                yield (
                    "warning",
                    f"{count(n, 'text')} of {split} in {script} script, none of train.",
                )


def _of_types(figures: Figures) -> Found:
    types, others = figures["types"], [s for s in figures["splits"] if s != "train"]
    few = [f"{k} ({row['train']})" for k, row in types.items() if row["train"] < FEW]
    unlearnt = [kind for kind, row in types.items() if not row["train"]]
    few = [item for item in few if not item.endswith(" (0)")]
    if unlearnt:
        yield (
            "warning",
            f"Train has no {names(unlearnt)}, which occur in {names(others)}.",
        )
    if few:
        yield "warning", f"Train has fewer than {FEW} entities of {names(few)}."
    for split in others:
        unmeasured = [k for k, row in types.items() if row["train"] and not row[split]]
        if unmeasured:
            yield "warning", f"{split} has no {names(unmeasured)} to measure."


def _of_windows(figures: Figures) -> Found:
    lengths = figures["lengths"]
    if lengths["window"] is None:
        return
    several = [
        f"{row['several_windows']:,} of {split}"
        for split, row in lengths["splits"].items()
        if row["several_windows"]
    ]
    if several:
        longest = lengths["longest"]
        yield (
            "note",
            f"Texts longer than a window of {lengths['window']:,} pieces, read in "
            f"parts: {names(several)}. The longest has {longest['length']:,} pieces "
            f"({longest['place']}).",
        )
    if lengths["long_entities"]:
        yield (
            "warning",
            f"{count(lengths['long_entities'], 'entity')} longer than a window, never "
            "seen whole: look for missing blank lines or O tags.",
        )


def _of_pieces(figures: Figures) -> Found:
    unseen = figures["unseen"]
    if unseen is None:
        return
    n_unseen = unseen["no_pieces"] - unseen["no_pieces_blank"]
    if n_unseen or unseen["entities_unseen"]:
        yield (
            "warning" if unseen["entities_unseen"] else "note",
            f"The checkpoint does not see {count(n_unseen, 'token')} other than white "
            f"space, nor {count(unseen['entities_unseen'], 'whole entity')}.",
        )
    if unseen["unknown_pieces"]:
        part = unseen["unknown_pieces"] / unseen["tokens"]
        yield (
            "warning" if part >= UNKNOWN or unseen["entities_unknown"] else "note",
            f"{count(unseen['unknown_pieces'], 'token')} ({percent(part)}) with "
            "characters that the checkpoint does not know; entities with such: "
            f"{unseen['entities_unknown']:,}.",
        )


def _of_conflicts(figures: Figures) -> Found:
    types, opened = figures["conflicts"]["types"], figures["conflicts"]["open"]
    if types["surfaces"]:
        yield (
            "warning",
            f"{count(types['surfaces'], 'phrase')} with different types in different "
            f"places, {count(types['entities'], 'entity')} in the rarer reading.",
        )
    if opened["surfaces"]:
        yield (
            "warning",
            f"{count(opened['surfaces'], 'phrase')} annotated in most places, but O in "
            f"{count(opened['occurrences'], 'other')}: some may be forgotten.",
        )
