"""Texts and entities that occur again: in a split, across splits, otherwise labelled.

All are found by dictionary, in one pass over the corpus or two.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from .entries import Entry, Splits, printable, share, top

N_TOP = 20
N_PLACES = 3
LONGEST_SHOWN = 160  # characters of a text

Words = tuple[str, ...]
Groups = dict[str, list[Entry]]  # texts by what is the same in them


def bare(text: str) -> str:
    """Example: "Ann  is in\\nRome." -> "annisinrome." """
    return "".join(text.split()).casefold()


def reading(entry: Entry) -> tuple[tuple[int, int, str], ...]:
    """The annotation, by characters other than white space."""

    def place(char_i: int) -> int:
        return len("".join(entry.text[:char_i].split()))

    bounds = [entry.bounds(ent.start, ent.end) for ent in entry.ents]
    return tuple(
        (place(start), place(end), ent.label)
        for (start, end), ent in zip(bounds, entry.ents, strict=True)
    )


def group(entries: Iterable[Entry]) -> Groups:
    """Blank texts are in no group."""
    groups: Groups = defaultdict(list)
    for entry in entries:
        if key := bare(entry.text):
            groups[key].append(entry)
    return groups


def find_duplicates(splits: dict[str, Groups]) -> dict[str, Any]:
    """The figures of `inspection` under "duplicates"."""
    found = {}
    for split, groups in splits.items():
        again = [entries for entries in groups.values() if len(entries) > 1]
        found[split] = {
            "texts": sum(len(entries) - 1 for entries in again),
            **_compare((entries, entries[1:]) for entries in again),
        }
    return found


def find_leaks(splits: dict[str, Groups]) -> dict[str, Any]:
    """The figures of `inspection` under "leaks"."""
    found = {}
    for first, second in combinations(splits, 2):
        shared = [key for key in splits[second] if key in splits[first]]
        n_texts = sum(map(len, splits[second].values()))
        n_leaked = sum(len(splits[second][key]) for key in shared)
        pairs = ((splits[first][key], splits[second][key]) for key in shared)
        found[f"{first}-{second}"] = {
            "first": first,
            "second": second,
            "texts": n_leaked,
            "of": n_texts,
            "share": share(n_leaked, n_texts),
            **_compare(pairs),
        }
    return found


def _compare(pairs: Iterable[tuple[list[Entry], list[Entry]]]) -> dict[str, Any]:
    """How many groups contradict each other; some groups, these first."""
    rows = []
    for first, second in pairs:
        readings = {reading(entry) for entry in (*first, *second)}
        text = printable(first[0].text)
        cut = text[:LONGEST_SHOWN] + "…" * (len(text) > LONGEST_SHOWN)
        places = [*dict.fromkeys((first[0].place, *(r.place for r in second)))]
        rows.append(
            {"text": cut, "readings": len(readings), "places": places[:N_PLACES]}
        )
    rows.sort(key=lambda row: -row["readings"])
    n_contradicting = sum(row["readings"] > 1 for row in rows)
    return {"contradicting": n_contradicting, "examples": rows[:N_TOP]}


def words_of(entry: Entry) -> tuple[list[int], list[str]]:
    """The tokens other than white space, and what is compared of them."""
    kept = [i for i, word in enumerate(entry.words) if not word.isspace()]
    return kept, [entry.words[i].casefold() for i in kept]


def surfaces(entry: Entry) -> Iterator[Words]:
    """What is compared of each entity. Example: "New  York" -> ("new", "york")"""
    for ent in entry.ents:
        words = entry.words[ent.start : ent.end]
        yield tuple(word.casefold() for word in words if not word.isspace())


def find_seen(splits: Splits) -> dict[str, Any]:
    """The figures of `inspection` under "seen_entities"."""

    def typed(entries: Sequence[Entry]) -> Counter[tuple[str, Words]]:
        return Counter(
            (ent.label, words)
            for entry in entries
            for ent, words in zip(entry.ents, surfaces(entry), strict=True)
        )

    known = typed(splits.get("train", ()))
    found = {}
    for split in (name for name in splits if name != "train"):
        rows: dict[str, Counter[str]] = defaultdict(Counter)
        for (label, words), n in typed(splits[split]).items():
            rows[label].update(entities=n, seen=n * ((label, words) in known))
        total = sum(rows.values(), Counter())
        found[split] = _seen_row(total) | {
            "types": {label: _seen_row(rows[label]) for label in sorted(rows)}
        }
    return found


def _seen_row(row: Counter[str]) -> dict[str, Any]:
    return {
        "entities": row["entities"],
        "seen": row["seen"],
        "share": share(row["seen"], row["entities"]),
    }


@dataclass
class Uses:
    """Of one surface: where it has each type, and where it is O."""

    shown: str
    labels: Counter[str] = field(default_factory=Counter)
    n_open: int = 0
    open_splits: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add_place(self, label: str, place: str) -> None:
        if len(self.places[label]) < N_PLACES:
            self.places[label].append(place)


def collect_uses(splits: Splits) -> dict[Words, Uses]:
    """Every surface that is an entity anywhere, case and white space aside."""
    uses: dict[Words, Uses] = {}
    for entries in splits.values():
        for entry in entries:
            for ent, words in zip(entry.ents, surfaces(entry), strict=True):
                start, end = entry.bounds(ent.start, ent.end)
                shown = uses.setdefault(words, Uses(entry.text[start:end]))
                shown.labels[ent.label] += 1
                shown.add_place(ent.label, ent.place)
    uses.pop((), None)
    lengths: dict[str, set[int]] = defaultdict(set)
    for words in uses:
        lengths[words[0]].add(len(words))
    by_first = {word: sorted(found, reverse=True) for word, found in lengths.items()}
    for split, entries in splits.items():
        for entry in entries:
            for words in open_surfaces(entry, uses, by_first):
                uses[words].n_open += 1
                uses[words].open_splits[split] += 1
                uses[words].add_place("O", entry.place)
    return uses


def open_surfaces(
    entry: Entry, uses: dict[Words, Uses], by_first: dict[str, list[int]]
) -> Iterator[Words]:
    """Surfaces that stand in O, the longest at each place, without overlaps.

    by_first: how many words the surfaces have that begin with each word.
    """
    kept, words = words_of(entry)
    taken = {i for ent in entry.ents for i in range(ent.start, ent.end)}
    taken |= entry.missing
    free_until = [0] * len(kept)  # where the run of O around each word ends
    for i in reversed(range(len(kept))):
        is_last = i + 1 == len(kept) or kept[i + 1] in taken
        free_until[i] = i + 1 if is_last else free_until[i + 1]
    i = 0
    while i < len(kept):
        if kept[i] not in taken:
            for length in by_first.get(words[i], ()):
                found = tuple(words[i : i + length])
                if i + length <= free_until[i] and found in uses:
                    yield found
                    i += length - 1
                    break
        i += 1


def find_conflicts(splits: Splits) -> dict[str, Any]:
    """The figures of `inspection` under "conflicts"."""
    uses = collect_uses(splits)
    many = {key: use for key, use in uses.items() if len(use.labels) > 1}
    minority = {
        key: use.labels.total() - max(use.labels.values()) for key, use in many.items()
    }
    opened = {key: use for key, use in uses.items() if use.n_open}
    missed = {
        key: use.n_open
        for key, use in opened.items()
        if use.n_open <= use.labels.total()
    }
    return {
        "types": {
            "surfaces": len(many),
            "entities": sum(minority.values()),
            "top": [_describe(many[key]) for key, _ in top(minority, N_TOP)],
        },
        "open": {
            "surfaces": len(missed),
            "occurrences": sum(missed.values()),
            "ambiguous_surfaces": len(opened) - len(missed),
            "top": [_describe(opened[key]) for key, _ in top(missed, N_TOP)],
        },
    }


def _describe(use: Uses) -> dict[str, Any]:
    return {
        "surface": printable(use.shown),
        "types": dict(top(use.labels, len(use.labels))),
        "open": use.n_open,
        "open_splits": dict(use.open_splits),
        "places": {label: use.places[label] for label in sorted(use.places)},
    }
