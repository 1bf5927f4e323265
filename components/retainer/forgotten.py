"""What was lost and what was won, entity by entity, instead of in F1.

By the teacher (before) and the student (after), a gold entity of an old type is

    kept      found by both, with its bounds and its type
    lost      found by the teacher alone
    won       found by the student alone
    missed    found by neither

so the student's true positives are the teacher's, less those lost, plus those won.
An entity that teacher or student has and gold has not is wrong; the student's is found
in nothing where neither gold nor the teacher has anything. Entities are compared as in
`scoring`: without the white space at their edges, and not where the text has no gold
annotation.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from spacy.tokens import Doc, Span

from .docbin import ent_places
from .labels import OUTSIDE, TypedSpan

FOUND = "found"
WRONG = ("wrong_before", "wrong_after")
CONTEXT = 60  # characters shown on either side of a lost entity
N_EXAMPLES = 20

Fates = Counter[tuple[str, str, str]]  # gold type or O, fate, type in the student or O
LostEntity = dict[str, Any]  # see `example_of`


@dataclass
class Forgotten:
    """Of one file. examples: of each type and outcome, the first N_EXAMPLES."""

    fates: Fates = field(default_factory=Counter)
    examples: list[LostEntity] = field(default_factory=list)


def char_span(ent: Span) -> TypedSpan:
    """An entity in characters, without the white space at its edges."""
    start = ent.start_char + len(ent.text) - len(ent.text.lstrip())
    return start, start + len(ent.text.strip()), ent.label_


def char_spans(doc: Doc) -> list[TypedSpan]:
    """The entities that have any text."""
    return [span for span in map(char_span, doc.ents) if span[0] < span[1]]


def shared(a: TypedSpan, b: TypedSpan) -> int:
    """How many characters two spans have in common."""
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def said_at(gold: TypedSpan, spans: Sequence[TypedSpan]) -> str:
    """The type of the span that shares most characters with an entity, or O.

    Of equals, one of the entity's own type, then the first.
    Example: (0, 8, "ORG"), [(0, 3, "ORG"), (4, 8, "LOC")] -> "LOC"
    """
    touching = [span for span in spans if shared(gold, span)]
    by_weight = [(shared(gold, span), span[2] == gold[2]) for span in touching]
    return touching[by_weight.index(max(by_weight))][2] if touching else OUTSIDE


def fate_of(
    gold: TypedSpan, before: Sequence[TypedSpan], after: Sequence[TypedSpan]
) -> tuple[str, str, str]:
    """A key of `Fates`. A lost entity with its own type again has other bounds."""
    names = {
        (True, True): "kept",
        (True, False): "lost",
        (False, True): "won",
        (False, False): "missed",
    }
    return gold[2], names[gold in before, gold in after], said_at(gold, after)


def without_gold(doc: Doc) -> list[TypedSpan]:
    """Where the text has no annotation, in characters."""
    tokens = (t for t in doc if t.ent_iob == 0 and not t.text.isspace())
    return [(token.idx, token.idx + len(token), "") for token in tokens]


def apart(
    spans: Iterable[TypedSpan], others: Sequence[TypedSpan]
) -> Iterator[TypedSpan]:
    """Those that have no character in common with any of the others."""
    return (s for s in spans if not any(shared(s, other) for other in others))


def compare_entities(
    references: Iterable[Doc],
    before: Iterable[Doc],
    after: Iterable[Doc],
    old_types: Sequence[str],
) -> Forgotten:
    """before, after: the references' own text, annotated by teacher and student."""
    forgotten = Forgotten()
    for docs in zip(references, before, after, strict=True):
        gold, teacher, student = map(char_spans, docs)
        for ent, place in zip(docs[0].ents, ent_places(docs[0]), strict=True):
            span = char_span(ent)
            if span not in gold or ent.label_ not in old_types:
                continue
            fate = fate_of(span, teacher, student)
            forgotten.fates[fate] += 1
            if fate[1] == "lost" and forgotten.fates[fate] <= N_EXAMPLES:
                example = example_of(docs[0].text, span, gold, teacher, student)
                forgotten.examples.append({"place": place} | example)
        gaps = without_gold(docs[0])
        for span in apart(student, [*gold, *teacher, *gaps]):
            forgotten.fates[OUTSIDE, FOUND, span[2]] += 1
        for name, spans in zip(WRONG, (teacher, student), strict=True):
            for span in apart(set(spans) - set(gold), gaps):
                forgotten.fates[OUTSIDE, name, span[2]] += 1
    return forgotten


def example_of(
    text: str, lost: TypedSpan, *annotations: Sequence[TypedSpan]
) -> LostEntity:
    """A lost entity with its surroundings, and all entities that lie in these.

    annotations: gold's, the teacher's, the student's.
    RETURNS: text; entity, gold, teacher, student: spans in characters of that text, as
    displaCy takes them, cut at its ends; became: see `said_at`.
    """
    first, behind = max(0, lost[0] - CONTEXT), min(len(text), lost[1] + CONTEXT)
    lead, trail = "…" * (first > 0), "…" * (behind < len(text))
    shift = len(lead) - first

    def inside(spans: Sequence[TypedSpan]) -> list[dict[str, Any]]:
        cut = ((max(a, first), min(b, behind), label) for a, b, label in spans)
        return [
            {"start": a + shift, "end": b + shift, "label": label}
            for a, b, label in cut
            if a < b
        ]

    names = ("gold", "teacher", "student")
    return {
        "text": lead + text[first:behind] + trail,
        "entity": inside([lost])[0],
        **{name: inside(of) for name, of in zip(names, annotations, strict=True)},
        "became": said_at(lost, annotations[-1]),
    }


def spread(examples: Iterable[LostEntity], n: int = N_EXAMPLES) -> list[LostEntity]:
    """Up to n of them, in their order: by turns of each file, type and outcome.

    Always the first one whose file was taken least often; of equals, whose type, then
    whose outcome was.
    """
    examples = list(examples)
    keys = [
        [
            ("file", example["domain"], example["file"]),
            ("type", example["entity"]["label"]),
            ("became", example["became"]),
        ]
        for example in examples
    ]
    left, taken = dict(enumerate(keys)), Counter()
    chosen: list[int] = []
    while left and len(chosen) < n:
        best = min(left, key=lambda i: [taken[key] for key in left[i]])
        taken.update(left.pop(best))
        chosen.append(best)
    return [examples[i] for i in sorted(chosen)]


def confusions(by_file: dict[str, Fates], old_types: Sequence[str]) -> dict[str, Any]:
    """What became of the gold entities of old types, in all and by file."""
    return {
        "all": describe(sum(by_file.values(), Fates()), old_types),
        "by_file": {name: describe(of, old_types) for name, of in by_file.items()},
    }


def describe(fates: Fates, old_types: Sequence[str]) -> dict[str, Any]:
    """The counts for `report.json`, over all old types and by type.

    net_lost: lost less won. wrong_before, wrong_after: the teacher's and the student's
    entities of these types that are not gold. became: what the student says in the
    place of lost ones; `other_bounds` is the same type. found_in_nothing: by type.
    """
    found = {kind: n for (_, fate, kind), n in sorted(fates.items()) if fate == FOUND}
    by_type = {kind: _count_fates(fates, [kind], old_types) for kind in old_types}
    return {
        **_count_fates(fates, old_types, old_types),
        "by_type": by_type,
        "found_in_nothing": found,
    }


def _count_fates(
    fates: Fates, kinds: Sequence[str], old_types: Sequence[str]
) -> dict[str, Any]:
    n, wrong = Counter(), Counter()
    places, old, new = Counter(), Counter(), Counter()
    for (kind, fate, said), times in sorted(fates.items()):
        if fate in WRONG and said in kinds:
            wrong[fate] += times
        if kind not in kinds:
            continue
        n[fate] += times
        if fate != "lost":
            continue
        if said in (OUTSIDE, kind):
            places["nothing" if said == OUTSIDE else "other_bounds"] += times
        else:
            (old if said in old_types else new)[said] += times
    return {
        "entities": n.total(),
        **{fate: n[fate] for fate in ("kept", "lost", "won", "missed")},
        "net_lost": n["lost"] - n["won"],
        **{name: wrong[name] for name in WRONG},
        "became": {
            "nothing": places["nothing"],
            "other_bounds": places["other_bounds"],
            "old_types": dict(old),
            "new_types": dict(new),
        },
    }
