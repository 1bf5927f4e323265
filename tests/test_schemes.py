from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, product

import pytest

from retainer.faults import FileLog
from retainer.labels import TypedSpan, spans_from_tags
from retainer.schemes import PLAIN, PREFIXED, TagReader, find_scheme, is_iob1


def paths_of(*paths: str) -> list[list[str]]:
    return [path.split() for path in paths]


def find(*paths: str) -> str:
    tags = Counter(tag for path in paths_of(*paths) for tag in path)
    return find_scheme(tags, lambda: paths_of(*paths))


def read(scheme: str, path: str) -> tuple[list[str], list[str]]:
    """The tags, and the faults without the name of the file; the first line is 7."""
    log, tags = FileLog("a"), path.split()
    lines = list(range(7, 7 + len(tags)))
    return TagReader(scheme, log).read(tags, lines), [str(f)[2:] for f in log.faults]


@pytest.mark.parametrize(
    ("paths", "scheme"),
    [
        (["O B-X I-X"], "BIO"),
        (["B-X B-X"], "BIO"),
        (["I-X", "O B-X"], "BIO"),
        (["B-X I-Y"], "BIO"),
        (["I-X I-X O"], "IOB1"),
        (["I-X B-X I-X"], "IOB1"),
        (["I-X", "I-Y B-Y"], "IOB1"),
        (["I-X", "B-X"], "BIO"),
        (["I-Y B-X"], "BIO"),
        (["B-X E-X"], "BIOES"),
        (["O S-X"], "BIOES"),
        (["B-X I-X O " * 10 + "S-X"], "BIO"),
        (["B-X I-X O " * 9 + "S-X"], "BIOES"),
        (["B-X L-X"], "BILOU"),
        (["O U-X"], "BILOU"),
        (["B-X M-X E-X"], "BMES"),
        (["W-X"], "BMES"),
        (["PER O"], "plain"),
        (["O"], "plain"),
        (["O -"], "plain"),
        ([], "plain"),
        (["PER B-X I-X"], "BIO"),
    ],
)
def test_the_scheme_of_a_file(paths: list[str], scheme: str) -> None:
    assert find(*paths) == scheme


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("I-X", True),
        ("I-X B-X", True),
        ("I-X B-X B-X", True),
        ("O O", False),
        ("B-X", False),
        ("O B-X", False),
        ("I-X O B-X", False),
        ("I-X I-Y B-X", False),
        ("- B-X", False),
    ],
)
def test_iob1_has_b_between_entities_of_one_type_alone(path, expected: bool) -> None:
    assert is_iob1(paths_of(path)) is expected


@pytest.mark.parametrize(
    ("scheme", "path", "faults"),
    [
        ("BIO", "B-X I-X O B-X B-X", []),
        ("BIO", "I-X", ["7: illegal transition: I-X behind O"]),
        ("BIO", "B-X O I-X", ["9: illegal transition: I-X behind O"]),
        ("BIO", "B-X I-Y", ["8: illegal transition: I-Y behind B-X"]),
        ("BIO", "- I-X", []),
        ("BIO", "B-X - I-X", []),
        ("IOB1", "I-X B-X I-Y", []),
        ("plain", "X X Y", []),
        ("BIOES", "B-X I-X E-X S-X O", []),
        ("BIOES", "B-X O", ["7: unfinished entity: O behind B-X"]),
        ("BIOES", "B-X B-X E-X", ["7: unfinished entity: B-X behind B-X"]),
        ("BIOES", "O B-X I-X", ["9: unfinished entity: nothing behind I-X"]),
        ("BIOES", "E-X", ["7: illegal transition: E-X behind O"]),
        ("BIOES", "S-X E-X", ["8: illegal transition: E-X behind S-X"]),
        ("BIOES", "B-X E-X I-X E-X", ["9: illegal transition: I-X behind E-X"]),
        ("BIOES", "B-X E-Y", ["8: illegal transition: E-Y behind B-X"]),
        ("BIOES", "B-X - E-X", []),
        ("BILOU", "B-X I-X L-X U-X", []),
        ("BILOU", "B-X U-X", ["7: unfinished entity: U-X behind B-X"]),
        ("BILOU", "L-X", ["7: illegal transition: L-X behind O"]),
        ("BMES", "B-X M-X E-X S-X W-X", []),
        ("BMES", "M-X E-X", ["7: illegal transition: I-X behind O"]),
        ("BMES", "B-X W-X", ["7: unfinished entity: S-X behind B-X"]),
        ("BIO", "B-X X", ["8: tag without prefix: 'X'"]),
        (
            "BIO",
            "X",
            ["7: tag without prefix: 'X'", "7: illegal transition: I-X behind O"],
        ),
    ],
)
def test_broken_rules_are_told(scheme: str, path: str, faults: list[str]) -> None:
    assert read(scheme, path)[1] == faults


@pytest.mark.parametrize(
    ("scheme", "path", "expected"),
    [
        ("BIO", "B-X I-X O -", "B-X I-X O -"),
        ("BIO", "B-X X", "B-X I-X"),
        ("BMES", "B-X M-X E-X W-X S-X", "B-X I-X E-X S-X S-X"),
        ("BILOU", "B-X L-X U-X", "B-X L-X U-X"),
        ("plain", "X O - Y", "I-X O - I-Y"),
        ("plain", "B-X X", "B-X I-X"),
        ("IOB1", "I-X B-X", "I-X B-X"),
    ],
)
def test_tags_are_written_alike(scheme: str, path: str, expected: str) -> None:
    assert read(scheme, path)[0] == expected.split()


def test_a_rule_broken_twice_is_told_twice() -> None:
    log = FileLog("a")
    reader = TagReader("BIO", log)
    reader.read(["O", "I-X"], [1, 2])
    reader.read(["I-X"], [4])
    assert [fault.place for fault in log.faults] == ["a:2", "a:4"]


def test_a_line_for_each_tag_is_needed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        TagReader("BIO", FileLog("a")).read(["O", "O"], [1])


# first of several, inside, last of several, alone
PREFIXES = {"BIO": "BIIB", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES"}
PREFIXES |= {"BMEW": "BMEW"}
N = 4


def segmentations(start: int = 0) -> Iterator[list[TypedSpan]]:
    """All ways to put entities of X and Y on N tokens."""
    if start >= N:
        yield []
        return
    yield from segmentations(start + 1)
    for end in range(start + 1, N + 1):
        for rest in segmentations(end):
            yield [(start, end, "X"), *rest]
            yield [(start, end, "Y"), *rest]


def touches_its_like(first: TypedSpan, second: TypedSpan) -> bool:
    return first[1:] == (second[0], second[2])


def write(scheme: str, spans: list[TypedSpan]) -> tuple[str, ...]:
    path = ["O"] * N
    for previous, (start, end, kind) in pairwise([(0, 0, ""), *spans]):
        first, inside, last, alone = PREFIXES.get(scheme, "IIII")
        if scheme == "IOB1" and touches_its_like(previous, (start, end, kind)):
            first = alone = "B"
        n_inner = end - start - 2
        prefixes = alone if n_inner < 0 else first + inside * n_inner + last
        path[start:end] = [f"{prefix}-{kind}" for prefix in prefixes]
        if scheme == "plain":
            path[start:end] = [kind] * (end - start)
    return tuple(path)


@pytest.mark.parametrize("scheme", [*PREFIXES, "IOB1", "plain"])
def test_every_legal_path_is_read_without_a_fault(scheme: str) -> None:
    name = "BMES" if scheme == "BMEW" else scheme
    legal = [
        spans
        for spans in segmentations()
        if scheme != "plain" or not any(map(touches_its_like, spans, spans[1:]))
    ]
    read_paths = [read(name, " ".join(write(scheme, spans))) for spans in legal]
    assert len(legal) > 80
    assert [spans_from_tags(tags) for tags, _ in read_paths] == legal
    assert not any(faults for _, faults in read_paths)


@pytest.mark.parametrize("scheme", PREFIXES)
def test_every_other_path_has_a_fault(scheme: str) -> None:
    tags = ["O", *map("-".join, product(sorted(set(PREFIXES[scheme])), "XY"))]
    legal = {write(scheme, spans) for spans in segmentations()}
    name = "BMES" if scheme == "BMEW" else scheme
    without_fault = {
        path for path in product(tags, repeat=N) if not read(name, " ".join(path))[1]
    }
    assert without_fault == legal


@pytest.mark.parametrize("scheme", [*PREFIXES, "IOB1", "plain"])
def test_the_scheme_that_wrote_all_paths_is_found(scheme: str) -> None:
    paths = [" ".join(write(scheme, spans)) for spans in segmentations()]
    assert find(*paths) == ("BMES" if scheme == "BMEW" else scheme)


@pytest.mark.parametrize(
    ("tag", "is_prefixed", "is_plain"),
    [
        ("B-PER", True, False),
        ("I-商品", True, False),
        ("B-geo-loc", True, False),
        ("B-First Name", True, False),
        ("W-X", True, False),
        ("PER", False, True),
        ("商品", False, True),
        ("work_of_art", False, True),
        ("GPE-LOC", False, True),
        ("B2", False, True),
        ("B", False, False),
        ("o", False, False),
        ("b-PER", False, False),
        ("B-", False, False),
        ("B--X", False, False),
        ("B- X", False, False),
        ("B-X ", False, False),
        ("_", False, False),
        ("-", False, False),
        ("0", False, False),
        ("PER.", False, False),
        ("", False, False),
    ],
)
def test_what_a_tag_may_be(tag: str, is_prefixed: bool, is_plain: bool) -> None:
    assert (PREFIXED.fullmatch(tag) is not None) is is_prefixed
    assert (PLAIN.fullmatch(tag) is not None) is is_plain
