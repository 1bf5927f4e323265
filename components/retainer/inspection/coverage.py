"""How long the texts are, and what of them the checkpoint cannot see."""

import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from spacy.language import Language
from spacy.util import minibatch

from ..pieces import NO_PIECE, cut, encode, special_pieces
from .entries import Entry, Splits, printable, script_of, snippet, top
from .regime import Track

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BATCH = 256  # texts encoded at once
N_TOP = 20
# Bins of about equal width on a logarithmic scale: 0, 1, 2, 3, 4, 6, 8, 12, 16, ...
EDGES = [0, 1, 2, 3] + [2**i + half for i in range(2, 30) for half in (0, 2 ** (i - 1))]


def piece_counts(
    tokenizer: "PreTrainedTokenizerFast", entries: Iterable[Entry]
) -> Iterator[tuple[list[int], list[int]]]:
    """Per text: how many pieces each token has, and how many of these are unknown."""
    n_behind = len(special_pieces(tokenizer)[1])
    for batch in minibatch(entries, BATCH):
        words = [entry.words for entry in batch]
        for windows in encode(tokenizer, words, window=sys.maxsize, overlap=0):
            ids, first = windows.ids[0], windows.token_position
            seen = np.flatnonzero(first != NO_PIECE)
            bounds = [*first[seen], len(ids) - n_behind]
            sizes, unknown = np.zeros((2, len(first)), dtype=int)
            sizes[seen] = np.diff(bounds)
            is_unknown = np.cumsum([0, *(ids == tokenizer.unk_token_id)])
            unknown[seen] = np.diff(is_unknown[bounds])
            yield sizes.tolist(), unknown.tolist()


class Coverage:
    """Counts over all texts, filled one text at a time."""

    def __init__(self, capacity: int | None, overlap: int):
        self.capacity, self.overlap = capacity, overlap
        self.lengths: dict[str, list[int]] = defaultdict(list)
        self.several: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.pieces: Counter[str] = Counter()
        self.unseen: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.places: dict[str, str] = {}
        self.ents: Counter[str] = Counter()
        self.long_ents: list[dict[str, Any]] = []
        self.longest: tuple[int, str] = (0, "")

    def add(
        self, split: str, entry: Entry, sizes: Sequence[int], unknown: Sequence[int]
    ) -> None:
        """sizes, unknown: (n_tokens,) pieces, and unknown ones; 1 and 0 without any."""
        n_pieces = sum(sizes)
        self.lengths[split].append(n_pieces)
        self.longest = max(self.longest, (n_pieces, entry.place), key=lambda x: x[0])
        if self.capacity is None:
            return
        self.several[split] += len(cut(n_pieces, self.capacity, self.overlap)) > 1
        for word, size, n_unknown in zip(entry.words, sizes, unknown, strict=True):
            self.words[word] += 1
            self.pieces[word] += size
            if not size:
                self.unseen[word] += 1
                self.places.setdefault(word, entry.place)
            if n_unknown:
                self.unknown[word] += 1
                self.places.setdefault(word, entry.place)
        for ent in entry.ents:
            of_ent = sum(sizes[ent.start : ent.end])
            self.ents["all"] += 1
            self.ents["unseen"] += of_ent == 0
            self.ents["unknown"] += any(unknown[ent.start : ent.end])
            if of_ent > self.capacity:
                bounds = entry.bounds(ent.start, ent.end)
                shown = snippet(entry, *bounds, ent.place)
                shown["entity"] = f"{shown['entity'][:80]}…"
                self.long_ents.append({"type": ent.label, "pieces": of_ent} | shown)


def measure_coverage(
    splits: Splits, teacher: Language | None, track: Track
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The figures of `inspection` under "lengths" and "unseen"."""
    coverage, tokenizer = Coverage(None, 0), None
    if teacher is not None:
        model = teacher.get_pipe("transformer_ner").model
        tokenizer = model.shims[0].tokenizer
        n_special = sum(map(len, special_pieces(tokenizer)))
        coverage = Coverage(model.attrs["window"] - n_special, model.attrs["overlap"])
    for split, entries in splits.items():
        if tokenizer is None:
            counts = (([1] * len(r.words), [0] * len(r.words)) for r in entries)
        else:
            counts = track(piece_counts(tokenizer, entries), len(entries))
        for entry, (sizes, unknown) in zip(entries, counts, strict=True):
            coverage.add(split, entry, sizes, unknown)
    return _lengths(coverage), _unseen(coverage) if tokenizer else None


def _lengths(coverage: Coverage) -> dict[str, Any]:
    last = bisect_right(EDGES, coverage.longest[0])
    rows = {}
    for split, lengths in coverage.lengths.items():
        bins = Counter(bisect_right(EDGES, length) - 1 for length in lengths)
        rows[split] = {
            "median": median(lengths),
            "p95": sorted(lengths)[int(0.95 * (len(lengths) - 1))],
            "max": max(lengths),
            "several_windows": coverage.several[split],
            "histogram": [bins[i] for i in range(last)],
        }
    return {
        "unit": "tokens" if coverage.capacity is None else "pieces",
        "window": coverage.capacity,
        "edges": EDGES[: last + 1],
        "splits": rows,
        "longest": {"length": coverage.longest[0], "place": coverage.longest[1]},
        "long_entities": len(coverage.long_ents),
        "long_entity_examples": coverage.long_ents[:N_TOP],
    }


def _unseen(coverage: Coverage) -> dict[str, Any]:
    by_script: dict[str, Counter[str]] = defaultdict(Counter)
    for word, n in coverage.words.items():
        by_script[script_of(word)].update(
            tokens=n,
            pieces=coverage.pieces[word],
            no_pieces=coverage.unseen[word],
            unknown_pieces=coverage.unknown[word],
        )
    scripts = sorted(by_script.items(), key=lambda item: -item[1]["tokens"])
    return {
        "tokens": coverage.words.total(),
        "no_pieces": coverage.unseen.total(),
        "no_pieces_blank": sum(
            n for word, n in coverage.unseen.items() if not word.strip()
        ),
        "unknown_pieces": coverage.unknown.total(),
        "entities": coverage.ents["all"],
        "entities_unseen": coverage.ents["unseen"],
        "entities_unknown": coverage.ents["unknown"],
        "scripts": {
            script: dict(row)
            | {"pieces_per_token": round(row["pieces"] / row["tokens"], 2)}
            for script, row in scripts
        },
        "top_no_pieces": _top_words(coverage.unseen, coverage.places),
        "top_unknown_pieces": _top_words(coverage.unknown, coverage.places),
    }


def _top_words(counts: Counter[str], places: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "token": printable(word),
            "code_points": " ".join(f"U+{ord(char):04X}" for char in word[:8]),
            "count": n,
            "place": places[word],
        }
        for word, n in top(counts, N_TOP)
    ]
