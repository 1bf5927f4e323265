from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.errors import UserError
from retainer.faults import (
    REMEDIES,
    UNREADABLE,
    Fault,
    FileLog,
    check_strict,
    count_kinds,
    is_near,
    listing,
    rare_types,
)


def faults_of(*kinds: str) -> list[Fault]:
    return [Fault(kind, f"a:{line}", "x") for line, kind in enumerate(kinds, start=1)]


def test_faults_have_a_place() -> None:
    log = FileLog("a.conll")
    log.add("missing tag", 3, "'left'")
    log.add_at("blank entity", "b.conll:7", "X of ' '")
    assert list(map(str, log.faults)) == [
        "a.conll:3: missing tag: 'left'",
        "b.conll:7: blank entity: X of ' '",
    ]


def test_a_fault_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="missing tag.* was expected, not 'odd'"):
        FileLog("a").add("odd", 1, "x")


def test_each_kind_that_counts_has_a_remedy() -> None:
    assert set(REMEDIES) >= UNREADABLE


@pytest.mark.parametrize("kind", sorted(UNREADABLE))
@pytest.mark.parametrize(
    ("n_faults", "n", "is_refused"),
    [(0, 0, False), (1, 20, False), (5, 100, False), (1, 19, True), (6, 100, True)],
)
def test_five_percent_are_tolerated(kind, n_faults, n, is_refused: bool) -> None:
    log = FileLog("a.conll", "TAB, 2 columns", faults_of(*[kind] * n_faults))
    if not is_refused:
        log.check_share(n, "lines")
        return
    message = (
        rf"At most 5% of faulty lines were expected in 'a\.conll', but {n_faults} of "
        rf"{n} are faulty, read as TAB, 2 columns\. .*:\na:1: {kind}: x"
    )
    with pytest.raises(UserError, match=message):
        log.check_share(n, "lines")


@given(n_faults=st.integers(0, 600), offset=st.sampled_from([-1, 0, 1]))
def test_the_boundary_is_exact(n_faults: int, offset: int) -> None:
    log = FileLog("a", faults=faults_of(*["missing tag"] * n_faults))
    if offset < 0 < n_faults:
        with pytest.raises(UserError, match="5% of faulty lines"):
            log.check_share(20 * n_faults + offset, "lines")
    else:
        log.check_share(20 * n_faults + max(offset, 0), "lines")


def test_what_has_been_repaired_does_not_count() -> None:
    kinds = sorted(set(REMEDIES) - UNREADABLE)
    log = FileLog("a", faults=faults_of(*kinds))
    assert log.check_share(1, "lines") is None  # and raises nothing


def test_a_place_with_several_faults_is_one() -> None:
    log = FileLog("a", faults=[Fault("unreadable tag", "a:1", "x")] * 9)
    log.check_share(20, "rows")
    with pytest.raises(UserError, match=r"but 1 of 19 are faulty\. Correct them"):
        log.check_share(19, "rows")


@pytest.mark.parametrize(
    ("n", "n_shown", "expected"),
    [
        (0, 2, ""),
        (2, 2, "a:1: header: x\na:2: header: x"),
        (3, 2, "a:1: header: x\na:2: header: x\n... and 1 more"),
        (3, 0, "... and 3 more"),
    ],
)
def test_listings_are_short(n: int, n_shown: int, expected: str) -> None:
    assert listing(faults_of(*["header"] * n), n_shown) == expected


def test_ten_are_listed() -> None:
    lines = listing(faults_of(*["header"] * 12)).split("\n")
    assert (len(lines), lines[-1]) == (11, "... and 2 more")


def test_kinds_are_counted_the_most_frequent_first() -> None:
    counts = count_kinds(faults_of("header", "blank entity", "blank entity"))
    assert list(counts.items()) == [("blank entity", 2), ("header", 1)]
    assert count_kinds([]) == {}


def test_strict_tolerates_nothing() -> None:
    check_strict([])
    message = r"there are 2\. Correct them, or leave `strict` away:\na:1: header: x"
    with pytest.raises(UserError, match=message):
        check_strict(faults_of("header", "rare type"))


NEAR = [
    ("PER", "per"),
    ("GPE_LOC", "GPE-LOC"),
    ("First Name", "FIRST_NAME"),
    ("PER", "PRE"),
    ("PER", "PERS"),
    ("ADRESS", "ADDRESS"),
    ("DATE", "DATES"),
    ("TIME", "TIMF"),
    ("STRASSE", "Straße"),
    ("商品名称", "商品名稱"),
    ("PHONE", "PHNOE"),
]
FAR = [
    ("ORG", "LOC"),
    ("PER", "PET"),
    ("OR", "ORG"),
    ("ZIP1", "ZIP2"),
    ("ZIP12", "ZIP21"),
    ("LINE", "LINE2"),
    ("PER", "PERSON"),
    ("ADDRESS", "ADRES"),
    ("PHONE", "HPOEN"),
    ("DATE", "EDAT"),
    ("X", ""),
]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(*pair, True) for pair in NEAR] + [(*pair, False) for pair in FAR],
)
def test_names_that_are_nearly_alike(first: str, second: str, expected: bool) -> None:
    assert is_near(first, second) is expected
    assert is_near(second, first) is expected


@given(st.text("abAB12_-", max_size=6), st.text("abAB12_-", max_size=6))
def test_nearness_has_no_direction(first: str, second: str) -> None:
    assert is_near(first, second) is is_near(second, first)
    assert is_near(first, first.swapcase())


@pytest.mark.parametrize(
    ("n_ents", "expected"),
    [
        ({"PER": 9, "PRE": 1}, ["b:2: rare type: 'PRE' is there once, beside 'PER'"]),
        ({"PER": 2, "per": 1}, ["b:3: rare type: 'per' is there once, beside 'PER'"]),
        ({"PER": 1, "PRE": 1}, []),
        ({"PER": 9, "PRE": 2}, []),
        ({"PER": 9, "ORG": 1}, []),
        ({"PRE": 1}, []),
        ({}, []),
    ],
)
def test_a_type_that_is_a_slip_is_found(n_ents: dict, expected: list[str]) -> None:
    places = {"PER": "a:1", "PRE": "b:2", "per": "b:3", "ORG": "c:4"}
    assert list(map(str, rare_types(Counter(n_ents), places))) == expected
