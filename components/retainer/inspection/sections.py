"""The figures of an inspection in sections, in the order in which a user needs them."""

from collections.abc import Iterable, Iterator, Sequence

from .findings import FEW, Figures, names
from .regime import SURE
from .tables import Cell, Section, make_section

NO_BASE = "Left out, since no checkpoint was given (--base)."


def pick(row: Figures, keys: str) -> list[Cell]:
    return [row.get(key) for key in keys.split()]


def listed(counts: dict[str, int]) -> str:
    """Example: {"PER": 3, "LOC": 1} -> "PER 3, LOC 1" """
    return ", ".join(f"{key} {n:,}" for key, n in counts.items())


def sections(figures: Figures) -> list[Section]:
    splits = figures["splits"]
    return [
        _regime(figures["regime"]),
        _splits(splits),
        _types(figures["types"], list(splits)),
        _lengths(figures["lengths"]),
        _unseen(figures["unseen"]),
        _repeats(figures["duplicates"], figures["leaks"]),
        _seen(figures["seen_entities"]),
        _conflicts(figures["conflicts"]),
    ]


def _regime(regime: Figures | None) -> Section:
    title = "What the teacher knows: is it annotated?"
    if regime is None:
        return make_section("regime", title, NO_BASE)
    is_all = regime["asked"] == regime["texts"]
    sample = "all" if is_all else f"{regime['asked']:,}, evenly sampled,"
    return make_section(
        "regime",
        title,
        f"Verdict: {regime['verdict']}. The teacher read the raw text of {sample} of "
        f"{regime['texts']:,} train texts. Sure means a confidence of {SURE} and over.",
        *_regime_tables(regime["types"], regime["files"]),
    )


def _regime_tables(
    types: Figures, files: Figures
) -> Iterator[tuple[str, str, list[list[Cell]]]]:
    judged = "verdict gold open share_annotated found sure"
    yield (
        "Annotated entities (gold), and what the teacher is sure of on O",
        "type|verdict|gold|sure on O|gold's share|all finds|sure finds",
        [[k, *pick(row, judged)] for k, row in types.items()],
    )
    places = "exact overlapping other_type open unknown"
    yield (
        "Where the sure finds lie",
        "type|as annotated|other bounds|other type|on O|without annotation",
        [[k, *pick(row, places)] for k, row in types.items()],
    )
    yield (
        "Called otherwise in the corpus",
        "teacher's type|corpus's type|sure finds",
        [[k, t, n] for k, row in types.items() for t, n in row["confusions"].items()],
    )
    yield (
        "By file",
        "file|type|verdict|gold|sure on O",
        [
            [file, k, *pick(row, "verdict gold open")]
            for file, by_type in files.items()
            for k, row in by_type.items()
            if len(files) > 1
        ],
    )
    yield (
        "Sure finds on O: forgotten, or the teacher's mistakes",
        "type|text|place of the text",
        [[k, e, e["place"]] for k, row in types.items() for e in row["examples"]],
    )


def _splits(splits: Figures) -> Section:
    sizes = "texts blank_texts texts_without_entities tokens entities"
    rates = "entities_per_1000_tokens o_share missing_share"
    scripts = dict.fromkeys(s for row in splits.values() for s in row["scripts"])
    return make_section(
        "splits",
        "Splits",
        "A text is a sentence of a CoNLL file or a document of a .spacy file. Its "
        "script is the writing system of most of its letters.",
        (
            "Sizes",
            "split|texts|blank|without entities|tokens|entities|per 1,000 tokens|O"
            "|without annotation",
            (
                [split, *pick(row, sizes), *pick(row, rates)]
                for split, row in splits.items()
            ),
        ),
        (
            "Texts by script",
            "|".join(["script", *splits]),
            (
                [s, *(of["scripts"].get(s, 0) for of in splits.values())]
                for s in scripts
            ),
        ),
        (
            "Files",
            "split|file|texts|tokens|entities|scripts",
            (
                [split, file, *pick(of, "texts tokens entities"), listed(of["scripts"])]
                for split, row in splits.items()
                for file, of in row["files"].items()
            ),
        ),
    )


def _types(types: Figures, splits: Sequence[str]) -> Section:
    def remark(row: dict[str, int]) -> str:
        absent = [split for split in splits if not row[split]]
        if absent:
            return f"none in {names(absent)}"
        return f"fewer than {FEW} in train" if row["train"] < FEW else ""

    return make_section(
        "types",
        "Entity types",
        "" if types else "The corpus has no entity.",
        (
            "Entities by type and split",
            "|".join(["type", *splits, "remark"]),
            ([kind, *row.values(), remark(row)] for kind, row in types.items()),
        ),
    )


def _lengths(lengths: Figures) -> Section:
    window = lengths["window"]
    unit = f"wordpieces of the checkpoint, which reads {window} at once"
    many = "" if window is None else "|several windows"
    keys = "max several_windows" if many else "max"
    return make_section(
        "lengths",
        "Lengths",
        f"In {unit if many else 'tokens, since no checkpoint was given (--base)'}.",
        (
            "Lengths of texts",
            f"split|median|95% have at most|longest{many}",
            (
                [split, *map(round, pick(row, "median p95")), *pick(row, keys)]
                for split, row in lengths["splits"].items()
            ),
        ),
        (
            "Entities longer than a window",
            "type|pieces|text|place",
            (
                [*pick(ent, "type pieces"), ent, ent["place"]]
                for ent in lengths["long_entity_examples"]
            ),
        ),
    )


def _unseen(unseen: Figures | None) -> Section:
    title = "What the checkpoint cannot see"
    if unseen is None:
        return make_section("unseen", title, NO_BASE)
    keys = "no_pieces unknown_pieces"
    words, word_keys = (
        "token|code points|times|first text",
        "token code_points count place",
    )
    counts = [f"{unseen[key]:,}" for key in ("tokens", "no_pieces", "no_pieces_blank")]
    ents = [f"{unseen[f'entities{key}']:,}" for key in ("", "_unseen", "_unknown")]
    return make_section(
        "unseen",
        title,
        f"Of {counts[0]} tokens, {counts[1]} have no pieces ({counts[2]} of these are "
        f"white space), and {unseen['unknown_pieces']:,} have unknown ones. Of "
        f"{ents[0]} entities, {ents[1]} have no pieces at all, {ents[2]} unknown ones.",
        (
            "Tokens by script; many pieces a token mean a script hardly known",
            "script|tokens|pieces a token|no pieces|unknown pieces",
            (
                [s, row["tokens"], f"{row['pieces_per_token']:.2f}", *pick(row, keys)]
                for s, row in unseen["scripts"].items()
            ),
        ),
        *(
            (caption, words, (pick(row, word_keys) for row in unseen[key]))
            for caption, key in (
                ("Tokens without pieces", "top_no_pieces"),
                ("Tokens with unknown pieces", "top_unknown_pieces"),
            )
        ),
    )


def _repeats(duplicates: Figures, leaks: Figures) -> Section:
    named = {f"again in {split}": row for split, row in duplicates.items()}
    named |= {f"{row['second']} in {row['first']}": row for row in leaks.values()}
    return make_section(
        "repeats",
        "Duplicates and leaks",
        "Texts that are the same but for white space and case.",
        (
            "Repeated texts",
            "where|texts|share|annotated in different ways",
            ([k, *pick(row, "texts share contradicting")] for k, row in named.items()),
        ),
        (
            "Which",
            "where|text|annotations|places",
            (
                [
                    where,
                    *pick(example, "text readings"),
                    ", ".join(example["places"][:2]),
                ]
                for where, row in named.items()
                for example in row["examples"]
            ),
        ),
    )


def _seen(seen: Figures) -> Section:
    kinds = dict.fromkeys(kind for row in seen.values() for kind in row["types"])
    rows = {"all": seen} | {
        kind: {split: row["types"].get(kind, {}) for split, row in seen.items()}
        for kind in kinds
    }
    heads = [f"{split} {what}" for split in seen for what in ("entities", "seen")]
    return make_section(
        "seen",
        "Entities seen in train",
        "Entities of dev and test that train has too, with the same type. Scores on "
        "them measure memory; the others measure what was learnt.",
        (
            "Seen entities",
            "|".join(["type", *heads]),
            (
                [kind, *(x for of in row.values() for x in pick(of, "entities share"))]
                for kind, row in rows.items()
                if seen
            ),
        ),
    )


def _conflicts(conflicts: Figures) -> Section:
    def rows(part: Figures) -> Iterable[list[Cell]]:
        for row in part["top"]:
            places = ", ".join(f"{kind}: {of[0]}" for kind, of in row["places"].items())
            yield [row["surface"], listed(row["types"]), row["open"], places]

    types, opened = conflicts["types"], conflicts["open"]
    header = "phrase|annotated|as O|places"
    return make_section(
        "conflicts",
        "Label conflicts",
        f"{types['surfaces']:,} phrases have several types. {opened['surfaces']:,} are "
        f"O in {opened['occurrences']:,} places, but annotated in as many or more; "
        f"{opened['ambiguous_surfaces']:,} others are mostly O, as words of many "
        "meanings are, and are not listed.",
        ("With several types", header, rows(types)),
        ("Annotated here, O there", header, rows(opened)),
    )
