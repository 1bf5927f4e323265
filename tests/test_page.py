import json
import re
import runpy
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc, Span

from retainer.corpus import blank_pipeline
from retainer.inspection import inspect_corpus
from retainer.inspection.page import make_plots, to_html
from retainer.inspection.sections import sections
from retainer.inspection.tables import Table, make_section, show
from retainer.pipelines import load_teacher

SCRIPT = Path(__file__).parents[1] / "scripts" / "inspect_corpus.py"
EVIL = "<script>alert(1)</script>"
TRAIN = "Anna\tB-PER\nwaits\tO\n\nAnna\tO\nwaits\tO\n\nเชียงใหม่\tB-LOC\n"


class Page(HTMLParser):
    """The elements of a page, and whether each that opens is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, *names: str) -> list[str]:
        return [
            attrs[name] for _, attrs in self.tags for name in names if name in attrs
        ]


def evil_doc(nlp) -> Doc:
    """An entity, a type and a place that would be code if they were not escaped."""
    doc = Doc(nlp.vocab, words=["a", EVIL, "b", "\x01"])
    doc.set_ents([Span(doc, 1, 2, EVIL), Span(doc, 2, 3, "$x_1$")], default="outside")
    doc.user_data["source"] = f"{EVIL}:1"
    return doc


@pytest.fixture(scope="module")
def figures(checkpoint: Path) -> dict[str, Any]:
    nlp = blank_pipeline("xx")
    docs = [evil_doc(nlp), evil_doc(nlp)]
    docs[1].set_ents([Span(docs[1], 1, 2, "人名")], default="outside")
    longs = [Doc(nlp.vocab, words=["."] * 100)]
    longs[0].set_ents([Span(longs[0], 0, 90, EVIL)], default="outside")
    splits = {"train": {EVIL: docs, "b": longs}, "dev": {"c": [evil_doc(nlp)]}}
    figures = inspect_corpus(splits, load_teacher(str(checkpoint)))
    snippet = {"before": EVIL, "entity": EVIL, "after": EVIL, "place": EVIL}
    figures["regime"]["types"]["PER"] |= {"open": 3, "examples": [snippet]}
    figures["regime"]["types"]["PER"]["confusions"] = {EVIL: 1}
    return figures


@pytest.fixture(scope="module")
def html(figures: dict[str, Any]) -> str:
    return to_html(figures, EVIL)


def test_text_is_escaped(html: str) -> None:
    assert "<script" not in html.lower()
    shown = "".join(Page(html).text)
    assert shown.count(EVIL) > 20
    assert "人名" in shown
    assert "$x_1$" in shown
    assert "\x01" not in html


def test_page_asks_nothing_of_a_network(html: str) -> None:
    page = Page(html)
    tags = Counter(tag for tag, _ in page.tags)
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(tags)
    links = page.values("href", "xlink:href", "src", "srcset", "action")
    assert links
    assert all(link.startswith("#") for link in links)
    assert "@import" not in html
    assert all(url.startswith("#") for url in re.findall(r"url\(([^)]*)\)", html))
    policies = [a["content"] for t, a in page.tags if "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_page_is_well_formed(html: str) -> None:
    page = Page(html)
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    used = [link[1:] for link in page.values("href", "xlink:href")]
    used += page.values("aria-labelledby")
    used += re.findall(r"url\(#([^)]*)\)", html)
    assert set(used) <= set(ids)
    assert Counter(tag for tag, _ in page.tags)["h1"] == 1
    assert ("html", {"lang": "en"}) in page.tags
    assert '<meta name="viewport"' in html


def test_every_plot_is_described(html: str) -> None:
    page = Page(html)
    n_plots = Counter(tag for tag, _ in page.tags)["svg"]
    labels = [attrs["aria-label"] for _, attrs in page.tags if "img" in attrs.values()]
    assert n_plots == len(labels) == 3
    assert all(label.endswith("the tables below have the numbers") for label in labels)


def test_the_same_figures_make_the_same_page(
    figures: dict[str, Any], html: str
) -> None:
    assert to_html(figures, EVIL) == html


def test_text_of_plots_stays_text(figures: dict[str, Any]) -> None:
    ((_, svg),) = make_plots(figures)["types"]
    assert "人名" in svg
    assert "$x_1$" in svg
    assert "&lt;script&gt;" in svg
    assert "<metadata" not in svg


def test_figures_are_json(figures: dict[str, Any], html: str) -> None:
    assert to_html(json.loads(json.dumps(figures)), EVIL) == html


def test_page_without_a_checkpoint() -> None:
    html = to_html(inspect_corpus({"train": {}}), None)
    assert html.count("Left out, since no checkpoint was given (--base).") == 2
    assert "No checkpoint was given." in html
    assert "Nothing to act on." in html
    assert "<svg" not in html


def test_no_script_in_page_with_many_types(nlp_blank) -> None:
    """The plot shows the most frequent ones, the table all."""
    doc = Doc(nlp_blank.vocab, words=["x"] * 30)
    doc.set_ents([Span(doc, i, i + 1, f"TYPE{i:02}") for i in range(30)])
    figures = inspect_corpus({"train": {"f": [doc]}})
    ((_, svg),) = make_plots(figures)["types"]
    assert ("TYPE19" in svg, "TYPE20" in svg) == (True, False)
    assert "TYPE29" in to_html(figures, None)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (1200, "1,200"),
        (0.5, "50%"),
        (None, "-"),
        ("text", "text"),
        ({"before": "in ", "entity": "Rome", "after": "."}, "in [Rome]."),
    ],
)
def test_cell(cell, shown: str) -> None:
    assert show(cell) == shown


def test_numbers_stand_right_but_in_the_first_column() -> None:
    table = Table("caption", ["a", "b", "c"], [["1", 1200, "x"], ["2", None, "3"]])
    assert table.aligns == "lrl"


def test_tables_without_rows_are_left_out() -> None:
    section = make_section("key", "Title", "", ("A", "x|y", [[1, 2]]), ("B", "z", []))
    assert section.tables == [Table("A", ["x", "y"], [[1, 2]])]


def test_tables_are_rectangles(figures: dict[str, Any]) -> None:
    tables = [table for section in sections(figures) for table in section.tables]
    assert len(tables) >= 15
    for table in tables:
        assert {len(row) for row in table.rows} == {len(table.header)}, table.caption


def run_script(monkeypatch, *args: str | Path) -> int | str | None:
    monkeypatch.setattr("sys.argv", [SCRIPT.name, *map(str, args)])
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return exit_info.value.code


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.conll"
    path.write_text(TRAIN, encoding="utf8")
    return path


def test_script(monkeypatch, capsys, tmp_path: Path, train: Path, checkpoint) -> None:
    output = tmp_path / "metrics" / "corpus"
    args = ("--train", train, "--dev", train, "--output", output, "--limit", "2")
    assert run_script(monkeypatch, *args, "--base", checkpoint) == 0
    assert sorted(path.name for path in output.parent.iterdir()) == [
        "corpus.html",
        "corpus.json",
    ]
    figures = json.loads(output.with_suffix(".json").read_text(encoding="utf8"))
    assert figures["base"] == str(checkpoint)
    assert (figures["regime"]["asked"], figures["regime"]["texts"]) == (2, 3)
    assert figures["types"]["PER"] == {"train": 1, "dev": 1}
    assert figures["splits"]["train"]["scripts"] == {"Latin": 2, "Thai": 1}
    html = output.with_suffix(".html").read_text(encoding="utf8")
    assert html == to_html(figures, str(checkpoint))
    said = " ".join(capsys.readouterr().out.split())
    assert "of 2, evenly sampled, of 3 train texts" in said
    assert "3 of 3 dev texts (100%) are also in train" in said
    assert said.index("= Entity types =") < said.index("= Findings =")


def test_script_without_a_checkpoint(monkeypatch, capsys, tmp_path, train) -> None:
    spacy_file = tmp_path / "dev" / "dev.spacy"
    convert = SCRIPT.with_name("convert.py")
    monkeypatch.setattr("sys.argv", ["convert.py", str(train), str(spacy_file)])
    with pytest.raises(SystemExit):
        runpy.run_path(str(convert), run_name="__main__")
    args = ("--train", train, "--train", train, "--dev", spacy_file.parent)
    assert run_script(monkeypatch, *args, "--output", tmp_path / "out") == 0
    figures = json.loads((tmp_path / "out.json").read_text(encoding="utf8"))
    assert list(figures["splits"]["dev"]["files"]) == [str(spacy_file)]
    assert figures["splits"]["train"]["texts"] == 3
    example = figures["leaks"]["train-dev"]["examples"][0]
    assert (example["readings"], example["places"]) == (2, [f"{train}:1", f"{train}:4"])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("Left out, since no checkpoint was given (--base).") == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--train", "{}/none.conll"), "none.conll"),
        (("--train", "{}/train.conll", "--base", "{}/none"), "none"),
        (("--train", "{}/bad.conll"), "bad.conll"),
    ],
)
def test_mistakes(monkeypatch, capsys, tmp_path, train, args, message) -> None:
    (tmp_path / "bad.conll").write_bytes(b"Anna\tB-PER\n\xff\tO\n")
    filled = [arg.format(tmp_path) for arg in args]
    output = tmp_path / "out"
    assert run_script(monkeypatch, *filled, "--output", output) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.glob("out*"))


def test_limit_of_nothing(monkeypatch, capsys, train: Path) -> None:
    assert run_script(monkeypatch, "--train", train, "--limit", "0") == 2
    assert "--limit" in capsys.readouterr().err


def test_script_tells_of_faults(monkeypatch, capsys, tmp_path: Path) -> None:
    source = tmp_path / "a.conll"
    source.write_text("Ann\tB-PER\nleft\tO\nLi\tI-PER\n\n" * 2)
    assert run_script(monkeypatch, "--train", source, "--output", tmp_path / "out") == 0
    figures = json.loads((tmp_path / "out.json").read_text(encoding="utf8"))
    assert figures["faults"] == {str(source): {"illegal transition": 2}}
    expected = f"{source}: 2 faults (2 illegal transition): scripts/convert.py lists"
    assert figures["findings"][0]["text"].startswith(expected)
    assert "2 illegal transition" in " ".join(capsys.readouterr().out.split())
