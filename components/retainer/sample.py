"""A made-up multilingual corpus, so that everything can be tried without any data.

Sentences come from templates, one YAML file a language; names from its lists and from
Faker. A surface belongs to one split by its hash, whatever the seed, so the splits
share no name; the templates of each split are their own.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import srsly
from faker import Faker
from spacy.language import Language

from .conll import format_sentence
from .errors import UserError
from .labels import OUTSIDE, check_unique, split_tag, tags_from_spans

OLD_TYPES = ("PER", "LOC")  # of the delivery corpus: a general checkpoint knows them
STYLES = {
    "general": ("PER", "ORG", "LOC"),
    "delivery": (*OLD_TYPES, "COURIER", "PHONE", "FACILITY"),
}
# The share of all surfaces in each split, and how many sentences each file has for
# one of general/train.
SHARES = {"train": 0.6, "dev": 0.15, "test": 0.25}
SIZES = {
    "general": {"train": 1.0, "dev": 0.08, "test": 0.1},
    "delivery": {"train": 0.25, "dev": 0.05, "test": 0.1},
}
FAKER_SLOTS = (
    *(f"{part}_name" for part in ("first", "last")),
    *(f"{part}_name_male" for part in ("first", "middle", "last")),
    *(f"{part}_name_female" for part in ("first", "middle", "last")),
    *("city", "company", "district", "prefecture", "province", "town", "word"),
)
LETTER = "letter"
DIGITS = {"#": "0123456789", "%": "123456789"}
PART = re.compile(r"\{(\w+)\}|([#%])")
VOWEL_SIGNS = re.compile("[\u064b-\u0652]")  # Arabic text is written without them
OTHER_CASE = 0.06  # of delivery sentences are all capitals, and as many lower case
MAX_TRIES = 2000

Segment = tuple[str, str]  # text, entity type or ""


@dataclass
class Templates:
    """names: patterns by slot. styles: templates by style, then split.

    `{slot}` stands for a name, `#` for a digit, `%` for one from 1. A slot in capitals
    is an entity: its type, then maybe `_` and a variant, as `PER_f`. Other slots are
    lists further up in the file, `letter`, or one of FAKER_SLOTS.
    """

    path: Path
    fakers: list[Faker]
    names: dict[str, list[str]]
    styles: dict[str, dict[str, list[str]]]


def split_of(surface: str) -> str:
    """The split that a name belongs to, in any language, type, case and spacing."""
    letters = "".join(filter(str.isalnum, surface.casefold()))
    digest = hashlib.sha256(letters.encode()).digest()
    place = int.from_bytes(digest[:4], "big") / 2**32
    ends = itertools.accumulate(SHARES.values())
    return next(split for split, end in zip(SHARES, ends, strict=True) if place < end)


def read_templates(path: Path) -> Templates:
    """Read the file of one language and check every slot in it."""
    try:
        data = srsly.read_yaml(path)
    except (ValueError, OSError) as error:
        raise UserError(
            f"A YAML file was expected at '{path}', but it cannot be read: {error}. "
            "Correct it."
        ) from error
    known = [*FAKER_SLOTS, LETTER]
    names: dict[str, list[str]] = {}
    for slot in _section(data, path, dict, "names"):
        names[slot] = _section(data, path, list, "names", slot)
        _check(names[slot], known, f"{path}: names: {slot}")
        known.append(slot)
    styles: dict[str, dict[str, list[str]]] = {}
    for style, types in STYLES.items():
        allowed = [slot for slot in known if _type_of(slot) in (*types, "")]
        styles[style] = {
            split: _section(data, path, list, style, split) for split in SHARES
        }
        for split, templates in styles[style].items():
            _check(templates, allowed, f"{path}: {style}: {split}")
        every = itertools.chain(*styles[style].values())
        check_unique(list(every), f"{path}: {style}")
    return Templates(path, _make_fakers(data, path), names, styles)


def _section(data: Any, path: Path, kind: type, *keys: str) -> Any:
    """kind: `dict`, or `list` for texts."""
    value = data
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    is_fit = isinstance(value, kind) and value
    if is_fit and (kind is dict or all(isinstance(text, str) for text in value)):
        return value
    wanted = "A list of texts" if kind is list else "A section of lists"
    raise UserError(
        f"{wanted} was expected in {path}: {': '.join(keys)}, but it is "
        f"{value!r:.60}. Add it; put quotes around what YAML reads as a number."
    )


def _make_fakers(data: Any, path: Path) -> list[Faker]:
    locales = _section(data, path, list, "locales")
    try:
        return [Faker(locale) for locale in locales]
    except AttributeError as error:
        raise UserError(
            f"Locales of Faker were expected in {path}: locales, but it does not know "
            f"all of {locales}: {error}. Give others, such as 'en_US'."
        ) from error


def _check(texts: list[str], known: list[str], entry: str) -> None:
    for text in texts:
        unknown = [slot for slot, _ in PART.findall(text) if slot and slot not in known]
        if unknown or re.search(r"[{}]", PART.sub("", text)):
            raise UserError(
                f"Slots such as {{city}} were expected in {entry}: {text!r}, but "
                f"{unknown or 'a lone brace'} is none of those that may stand there: "
                f"{', '.join(known)}. Correct it; lists must stand above their use."
            )


def _type_of(slot: str) -> str:
    """Example: "PER_f" -> "PER", "city" -> "" """
    kind = slot.partition("_")[0]
    return kind if kind.isupper() else ""


class Drawer:
    """Fills slots at random. All randomness, Faker's too, comes from one seed."""

    def __init__(self, templates: Templates, seed: str):
        self.templates = templates
        self.random = random.Random(seed)
        for faker in templates.fakers:
            faker.random = self.random

    def name(self, slot: str) -> str:
        if slot in self.templates.names:
            return self.fill(self.random.choice(self.templates.names[slot]))
        if slot == LETTER:
            return self.random.choice("ABCDEFGHKLMPRST")
        name = getattr(self.random.choice(self.templates.fakers), slot)()
        return VOWEL_SIGNS.sub("", name)

    def fill(self, pattern: str) -> str:
        def part(match: re.Match[str]) -> str:
            if match[1]:
                return self.name(match[1])
            return self.random.choice(DIGITS[match[2]])

        return PART.sub(part, pattern)

    def surface(self, slot: str, split: str) -> str:
        """A name of the split; others are drawn again."""
        for _ in range(MAX_TRIES):
            surface = self.name(slot)
            if split_of(surface) == split:
                return surface
        raise UserError(
            f"A name for {split} was expected in {self.templates.path}: names: {slot}, "
            f"but none of {MAX_TRIES} draws belongs there. Add more names."
        )

    def segments(self, template: str, split: str) -> list[Segment]:
        """Example: "To {PER}!" -> [("To ", ""), ("Ann Li", "PER"), ("!", "")]"""
        segments: list[Segment] = []
        for text in re.split(r"(\{[A-Z]\w*\})", template):
            slot = text.strip("{}")
            if text != slot and _type_of(slot):
                segments.append((self.surface(slot, split), _type_of(slot)))
            elif text:
                segments.append((self.fill(text), ""))
        return segments

    def recase(self, segments: list[Segment]) -> list[Segment]:
        place = self.random.random()
        if place > 2 * OTHER_CASE:
            return segments
        change = str.upper if place < OTHER_CASE else str.lower
        return [(change(text), kind) for text, kind in segments]


def make_sentences(
    templates: Templates, style: str, split: str, n: int, seed: int
) -> Iterator[tuple[str, list[Segment]]]:
    """n different sentences, each with its template; all templates in turn."""
    drawer = Drawer(templates, f"{seed}/{templates.path.stem}/{style}/{split}")
    order = list(templates.styles[style][split])
    drawer.random.shuffle(order)
    texts: set[str] = set()
    n_repeats = 0
    for template in itertools.cycle(order):
        if len(texts) == n:
            return
        if n_repeats == MAX_TRIES:
            break
        segments = drawer.segments(template, split)
        if style == "delivery":
            segments = drawer.recase(segments)
        text = "".join(text for text, _ in segments)
        n_repeats = n_repeats + 1 if text in texts else 0
        if not n_repeats:
            texts.add(text)
            yield template, segments
    raise UserError(
        f"{n} different sentences were asked of {templates.path}: {style}: {split}, "
        f"but its templates yield {len(texts)}. Add templates or names."
    )


def tag(nlp: Language, segments: list[Segment], entry: str) -> list[tuple[str, str]]:
    """Tokens and BIO tags; whitespace tokens are left out."""
    doc = nlp.make_doc("".join(text for text, _ in segments))
    spans, end = [], 0
    for text, kind in segments:
        start, end = end, end + len(text)
        span = doc.char_span(start, end) if kind else None
        if kind and span is None:
            raise UserError(
                f"Entities made of whole tokens were expected in {entry}, but {text!r} "
                f"in {doc.text!r} is cut as {[t.text for t in doc]}. Put a space or "
                "punctuation around the slot."
            )
        if span is not None:
            spans.append((span.start, span.end, kind))
    known = [f"{prefix}-{kind}" for _, _, kind in spans for prefix in "BI"]
    tags = tags_from_spans(len(doc), spans, known)
    pairs = zip(doc, tags, strict=True)
    return [(token.text, tag) for token, tag in pairs if not token.is_space]


def without_types(tags: list[str], types: tuple[str, ...]) -> list[str]:
    """Example: ["B-PER", "B-PHONE"], ("PER",) -> ["O", "B-PHONE"]"""
    return [OUTSIDE if split_tag(tag)[1] in types else tag for tag in tags]


def make_files(
    templates: Templates, nlp: Language, sentences: int, seed: int
) -> dict[str, str]:
    """The CoNLL text of each folder of the corpus, for one language.

    sentences: in general/train; the other files keep their proportion to it.
    """
    files: dict[str, str] = {}
    for style, split in itertools.product(STYLES, SHARES):
        n = max(1, round(sentences * SIZES[style][split]))
        full = partial = ""
        for template, segments in make_sentences(templates, style, split, n, seed):
            entry = f"{templates.path}: {style}: {split}: {template!r}"
            tokens, tags = zip(*tag(nlp, segments, entry), strict=True)
            full += format_sentence(tokens, tags)
            partial += format_sentence(tokens, without_types(list(tags), OLD_TYPES))
        if (style, split) == ("delivery", "train"):
            files |= {"delivery/train-full": full, "delivery/train-partial": partial}
        else:
            files[f"{style}/{split}"] = full
    return files
