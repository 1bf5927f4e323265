import json

import pytest
from spacy.tokens import Doc, Span

from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.formats import STYLES, to_record

NLP = blank_pipeline("xx")
TEXT = 'Ann\tat\u2028DHL 😀 "x" \\ Bonn'
ENTS = [("Ann", "PER"), ("DHL", "ORG"), ("Bonn", "LOC")]


def make_doc(text: str = TEXT, ents: list = ENTS, missing: tuple[str, ...] = ()) -> Doc:
    """ents: (text, type). missing: the text that has no annotation."""
    doc = NLP.make_doc(text)
    spans = [find(doc, part, label) for part, label in ents]
    gaps = [find(doc, part, "") for part in missing]
    doc.set_ents(spans, missing=gaps, default="outside")
    return doc


def find(doc: Doc, part: str, label: str) -> Span:
    start = doc.text.index(part)
    span = doc.char_span(start, start + len(part), label)
    assert span is not None
    return span


def quotes(record: dict, style: str) -> list[tuple[str, str]]:
    """The text under each span and its label, as the tool will show them."""
    if style == "label-studio":
        text = record["data"]["text"]
        [made] = record.get("annotations") or record["predictions"]
        values = [result["value"] for result in made["result"]]
        assert all(v["text"] == text[v["start"] : v["end"]] for v in values)
        return [(v["text"], *v["labels"]) for v in values]
    spans = record.get("label")
    if style == "prodigy":
        spans = [(s["start"], s["end"], s["label"]) for s in record["spans"]]
    return [(record["text"][start:end], label) for start, end, label in spans]


@pytest.mark.parametrize("style", STYLES)
def test_each_span_covers_its_entity(style: str) -> None:
    record = to_record(make_doc(), style)
    assert quotes(record, style) == ENTS
    assert record.get("data", record)["text"] == TEXT


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scores", [None, [0.5, None, 1.0]])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_records_survive_json(style: str, scores, ascii_only: bool) -> None:
    doc = make_doc(missing=("at",))
    doc.user_data |= {"source": "a:1", "words": [(0, 3), (4, 10)]}
    record = to_record(doc, style, scores)
    line = json.dumps(record, ensure_ascii=ascii_only)
    assert json.loads(line) == record
    assert "\n" not in line


def test_prodigy_has_tokens_and_inclusive_token_ends() -> None:
    record = to_record(make_doc("Ann Li left.", [("Ann Li", "PER")]), "prodigy")
    assert record == {
        "text": "Ann Li left.",
        "tokens": [
            {"text": "Ann", "start": 0, "end": 3, "id": 0, "ws": True},
            {"text": "Li", "start": 4, "end": 6, "id": 1, "ws": True},
            {"text": "left", "start": 7, "end": 11, "id": 2, "ws": False},
            {"text": ".", "start": 11, "end": 12, "id": 3, "ws": False},
        ],
        "spans": [
            {"start": 0, "end": 6, "token_start": 0, "token_end": 1, "label": "PER"}
        ],
    }


def test_prodigy_spans_lie_on_its_tokens() -> None:
    record = to_record(make_doc(), "prodigy")
    tokens = record["tokens"]
    assert "".join(t["text"] + " " * t["ws"] for t in tokens) == TEXT
    assert [TEXT[t["start"] : t["end"]] for t in tokens] == [t["text"] for t in tokens]
    assert [t["id"] for t in tokens] == list(range(len(tokens)))
    assert [
        (tokens[span["token_start"]]["start"], tokens[span["token_end"]]["end"])
        for span in record["spans"]
    ] == [(span["start"], span["end"]) for span in record["spans"]]


def test_doccano_has_triples() -> None:
    record = to_record(make_doc("Ann left", [("Ann", "PER")]), "doccano")
    assert record == {"text": "Ann left", "label": [[0, 3, "PER"]]}


def test_label_studio_has_what_its_import_asks_for() -> None:
    record = to_record(make_doc("Ann left", [("Ann", "PER")]), "label-studio")
    value = {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}
    names = {"from_name": "label", "to_name": "text", "type": "labels"}
    assert record == {
        "data": {"text": "Ann left"},
        "annotations": [{"result": [{**names, "value": value}]}],
    }


SCORES = [0.25, None, 1.0]


def test_scores_are_told() -> None:
    doc = make_doc()
    spans = to_record(doc, "prodigy", SCORES)["spans"]
    assert [span.get("score", "none") for span in spans] == [0.25, "none", 1.0]
    assert to_record(doc, "doccano", SCORES)["scores"] == SCORES
    record = to_record(doc, "label-studio", SCORES)
    assert "annotations" not in record
    [made] = record["predictions"]
    assert made["model_version"]
    results = made["result"]
    assert [result.get("score", "none") for result in results] == [0.25, "none", 1.0]


def test_a_prediction_may_be_empty() -> None:
    doc = make_doc("left", [])
    record = to_record(doc, "label-studio", [])
    assert [made["result"] for made in record["predictions"]] == [[]]
    assert to_record(doc, "doccano", [])["scores"] == []


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("scores", [[], [1.0] * 4])
def test_each_entity_needs_a_score(style: str, scores: list) -> None:
    with pytest.raises(ValueError, match="zip"):
        to_record(make_doc(), style, scores)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("source", "meta", "expected"),
    [
        (None, None, None),
        ("a:1", None, {"source": "a:1"}),
        ("a:1", {"id": 7}, {"id": 7}),
        ("a:1", {}, None),
        (None, {"id": 7}, {"id": 7}),
    ],
)
def test_meta(style: str, source, meta, expected) -> None:
    doc = make_doc()
    if source is not None:
        doc.user_data["source"] = source
    record = to_record(doc, style, meta=meta)
    assert record.get("data", record).get("meta") == expected


@pytest.mark.parametrize("style", STYLES)
def test_words_and_missing_text_are_told(style: str) -> None:
    doc = make_doc("Ann left Bonn", [("Ann", "PER")], missing=("left", "Bonn"))
    doc.user_data["words"] = [(0, 3), (4, 13)]
    record = to_record(doc, style)
    record = record.get("data", record)
    assert (record["words"], record["missing"]) == (
        [[0, 3], [4, 13]],
        [[4, 8], [9, 13]],
    )
    plain = to_record(make_doc(), style)
    assert not {"words", "missing"} & set(plain.get("data", plain))


@pytest.mark.parametrize("style", STYLES)
def test_a_text_without_anything_is_a_record(style: str) -> None:
    record = to_record(make_doc("", []), style)
    assert record.get("data", record)["text"] == ""
    assert quotes(record, style) == []


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(UserError, match=r"style of prodigy, .* but it is 'brat'"):
        to_record(make_doc(), "brat")
