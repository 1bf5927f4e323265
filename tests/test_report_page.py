import re
from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
from spacy.scorer import PRFScore
from test_page import EVIL, Page

from retainer.budget import judge
from retainer.forgotten import Forgotten, confusions, example_of
from retainer.report import Measured, compare, forgetting, learnt, token_scores
from retainer.report_page import describe_example, direction, draw_bars, to_html

OLD, NEW = ["PER", EVIL], ["PHONE"]
TEXT = f"Anna\n{EVIL} Bob אבא"


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """Of one file, in which all that can be is code, were it not escaped."""
    before, after = {EVIL: PRFScore(tp=2, fn=1)}, {EVIL: PRFScore(tp=1, fn=2)}
    fates = Counter({(EVIL, "lost", "PER"): 1, (EVIL, "kept", EVIL): 1})
    fates |= {(EVIL, "missed", "O"): 1, ("O", "found", "PHONE"): 2}
    lost, evil = (5, 5 + len(EVIL), EVIL), (0, 4, EVIL)
    example = example_of(TEXT, lost, [lost], [evil, lost], [(5, 8, "PER")])
    example |= {"domain": "old", "file": EVIL, "place": f"{EVIL}:1"}
    files = {EVIL: Measured(before, after, after, Forgotten(fates, [example]))}
    tables = confusions({EVIL: fates}, OLD)
    compared = compare(before, after, OLD)
    return {
        **{"old_types": OLD, "new_types": NEW, "unknown_types": {EVIL: 1}},
        "forgetting": forgetting(files, OLD),
        "new": learnt(after, NEW) | {"by_file": {EVIL: learnt(after, NEW)}},
        "old_in_new": compared | {"by_file": {EVIL: compared}},
        "confusions": {"old": tables, "new": tables},
        "examples": [example],
        "tokens": {"old": token_scores(files), "new": {}},
    }


@pytest.fixture(scope="module")
def html(report: dict[str, Any]) -> str:
    return to_html(report)


def test_text_is_escaped(html: str) -> None:
    assert "<script" not in html.lower()
    shown = "".join(Page(html).text)
    assert shown.count(EVIL) > 15


def test_page_asks_nothing_of_a_network(html: str) -> None:
    page = Page(html)
    tags = Counter(tag for tag, _ in page.tags)
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(tags)
    links = page.values("href", "xlink:href", "src", "srcset", "action")
    assert links
    assert all(link.startswith("#") for link in links)
    assert "@import" not in html
    assert "url(" not in html
    policies = [a["content"] for t, a in page.tags if "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_page_is_well_formed(html: str) -> None:
    page = Page(html)
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href")} <= set(ids)
    assert set(page.values("aria-labelledby")) <= set(ids)
    tags = Counter(tag for tag, _ in page.tags)
    assert (tags["h1"], tags["svg"], tags["article"]) == (1, 1, 1)


def test_gold_teacher_and_student_stand_one_under_another(
    report: dict[str, Any],
) -> None:
    title, place, renderings = describe_example(report["examples"][0], report)
    assert title == f"{EVIL}: {EVIL} ({EVIL}), now PER"
    assert place == f"{EVIL}:1"
    assert [name for name, _ in renderings] == ["gold", "teacher", "student"]
    assert [markup.count("<mark") for _, markup in renderings] == [1, 2, 1]
    for _, markup in renderings:
        shown = "".join(Page(markup).text)
        assert [word in shown for word in ("Anna", "Bob", "אבא")] == [True] * 3


@pytest.mark.parametrize(
    ("became", "outcome"), [("O", "nothing"), (EVIL, "other bounds"), ("PER", "PER")]
)
def test_outcome_of_an_example(report: dict[str, Any], became, outcome) -> None:
    example = report["examples"][0] | {"became": became}
    assert describe_example(example, report)[0].endswith(f", now {outcome}")


def test_page_of_nothing(report: dict[str, Any]) -> None:
    empty = deepcopy(report) | {"examples": []}
    empty["forgetting"] = forgetting({}, OLD)
    empty["old_in_new"]["by_file"], empty["new"]["by_file"] = {}, {}
    page = Page(to_html(empty))
    tags = Counter(tag for tag, _ in page.tags)
    assert (tags["svg"], tags["article"]) == (0, 0)
    assert "Summary" in page.text


def test_page_shows_the_budget(report: dict[str, Any], html: str) -> None:
    assert "may be lost" not in html
    budget = judge(report["forgetting"], 20.0, 0)
    shown = to_html(report | {"budget": budget})
    assert "the dashed line is what may be lost" in shown
    assert "At most 20 points of F1 may be lost" in shown


NUMBER = r'="(-?[\d.]+)"'


def bars(svg: str) -> list[tuple[float, float, str]]:
    """Left edge, width, color."""
    pattern = rf'<rect x{NUMBER} y{NUMBER} width{NUMBER} height{NUMBER} fill="(.*?)"'
    rows = re.findall(pattern, svg)
    return [(float(row[0]), float(row[2]), row[4]) for row in rows]


def test_bars_are_as_long_as_what_was_lost() -> None:
    svg = draw_bars({"de": 30.0, "fr": -10.0, "es": 0.0})
    (de, de_width, red), (fr, fr_width, green), (es, es_width, _) = bars(svg)
    assert de_width == pytest.approx(3 * fr_width, abs=0.2)
    assert es_width == 0
    assert de == es == pytest.approx(fr + fr_width, abs=0.11)  # where nothing is lost
    assert red != green
    assert re.findall(r">([-\d.]+)</text>", svg) == ["30.00", "-10.00", "0.00"]
    assert svg.count("<line") == 1


@pytest.mark.parametrize("values", [{"de": 0.0}, {"de": -3.0}, {"de": 100.0, "b": 1}])
def test_bars_stay_inside_the_chart(values: dict[str, float]) -> None:
    svg = draw_bars(values)
    width = float(re.search(r'viewBox="0 0 (\d+)', svg)[1])
    for left, length, _ in bars(svg):
        assert 0 <= left <= left + length <= width


@pytest.mark.parametrize(
    ("limit", "n_lines"), [(5.0, 2), (12.0, 2), (21.0, 1), (None, 1)]
)
def test_limit_is_drawn_where_it_fits(limit: float | None, n_lines: int) -> None:
    svg = draw_bars({"de": 10.0}, limit)
    assert svg.count("<line") == n_lines
    if n_lines == 2:
        zero, at = (float(x) for x in re.findall(rf"x1{NUMBER}", svg))
        ((left, width, _),) = bars(svg)
        assert left == pytest.approx(zero, abs=0.11)
        assert (at - zero) / width == pytest.approx(limit / 10, abs=0.01)


def test_long_names_end_as_they_do() -> None:
    svg = draw_bars({"a/long/path/to/the/file/de.conll": 1.0})
    assert ">…e/file/de.conll<" in svg


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Anna אבא", "ltr"), ("12 אבא Anna", "rtl"), ("علي", "rtl"), ("12", "ltr")],
)
def test_direction(text: str, expected: str) -> None:
    assert direction(text) == expected
