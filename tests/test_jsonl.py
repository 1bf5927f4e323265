import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.charspans import AnnotatedText, _from_utf16, _longest, _uncovered
from retainer.corpus import blank_pipeline, doc_from_text
from retainer.errors import UserError
from retainer.faults import FileLog
from retainer.jsonl import read_records

NLP = blank_pipeline("xx")
ANN = {"start": 0, "end": 3, "label": "PER"}
SPAN = [(0, 3, "PER")]


def read(folder: Path, data: str) -> tuple[list[AnnotatedText], FileLog]:
    path, log = folder / "a.json", FileLog("a")
    path.write_text(data, "utf-8")
    return list(read_records(path, "utf-8", log)), log


def read_one(folder: Path, **record) -> tuple[AnnotatedText, FileLog]:
    [text], log = read(folder, json.dumps({"text": "Ann left", **record}))
    return text, log


def region(start: int, end: int, *labels: str, **more) -> dict:
    return {"value": {"start": start, "end": end, "labels": list(labels), **more}}


def task(*results: dict, **more) -> dict:
    annotations = [{"result": list(results), **more}]
    return {"data": {"text": "Ann left"}, "annotations": annotations}


SHORT = {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}
OFFSETS = {"id": 7, "label": "PER", "start_offset": 0, "end_offset": 3}
STYLES = {
    "prodigy": ({"spans": [ANN], "answer": "accept"}, SPAN),
    "prodigy-token-offsets": ({"spans": [{**ANN, "token_end": 0}]}, SPAN),
    "prodigy-with-lists": ({"spans": [[0, 3, "PER"]]}, SPAN),
    "prodigy-nothing-in-it": ({"spans": []}, []),
    "prodigy-accepted-untouched": ({"tokens": [], "answer": "accept"}, []),
    "doccano": ({"id": 1, "label": [[0, 3, "PER"]]}, SPAN),
    "doccano-labels": ({"labels": [[0, 3, " PER "]]}, SPAN),
    "doccano-entities": ({"entities": [OFFSETS], "relations": []}, SPAN),
    "doccano-nothing-in-it": ({"label": []}, []),
    "label-studio": (task(region(0, 3, "PER", text="Ann")), SPAN),
    "label-studio-nothing-in-it": (task(), []),
    "label-studio-other-results": (task({"value": {"choices": ["x"]}}, {}), []),
    "label-studio-unlabelled": (task({"value": {"start": 0, "end": 3}}), []),
    "label-studio-no-label": (task(region(0, 3)), []),
    "label-studio-completions": (
        {"data": {"text": "Ann"}, "completions": [{"result": []}]},
        [],
    ),
    "label-studio-short": ({"ner": [SHORT], "annotator": 1}, SPAN),
    "label-studio-two-controls": (
        {"a": [SHORT], "b": [{**SHORT, "start": 4, "end": 8, "text": "left"}]},
        [*SPAN, (4, 8, "PER")],
    ),
    "label-studio-first-unlabelled": (
        {"ner": [{"start": 4, "end": 5, "text": "l"}, SHORT]},
        SPAN,
    ),
}


@pytest.mark.parametrize("name", STYLES)
def test_every_style_is_read(tmp_path: Path, name: str) -> None:
    record, spans = STYLES[name]
    text, log = read_one(tmp_path, **record)
    assert text.spans == spans
    assert (text.path, text.line, text.words, text.missing) == ("a", 1, None, [])
    style = "-".join(name.split("-")[: 1 + name.startswith("label-")])
    assert (log.layout, log.faults) == (f"JSON, {style}", [])


@pytest.mark.parametrize(
    "record",
    [
        {"text": "Ann", "data": "other", "label": []},
        {"data": "Ann", "label": []},
        {"text": "other", "data": {"text": "Ann", "a": "b"}, "annotations": [{}]},
        {"data": {"n": 1, "content": "Ann"}, "annotations": [{}]},
    ],
)
def test_the_text_is_found(tmp_path: Path, record: dict) -> None:
    assert [text.text for text in read(tmp_path, json.dumps(record))[0]] == ["Ann"]


def test_styles_may_be_mixed(tmp_path: Path) -> None:
    records = [{"text": "a", "spans": []}, {"text": "b", "label": []}]
    log = read(tmp_path, "\n".join(map(json.dumps, records)))[1]
    assert log.layout == "JSON, prodigy and doccano"


CUT_OFF = {"start": 0, "end": 3}
BROKEN = {
    "no-json": ("{'text'}", r"no JSON \(.*\): \"\{'text'\}\""),
    "too-deep": ('{"a":' * 99_999, r"no JSON \(maximum recursion depth"),
    "no-object": ('"Ann"', r"an object was expected, not 'Ann'"),
    "no-text": ({"label": []}, r"a text was expected under 'text' in \"\{'label'"),
    "text-is-none": ({"text": 3, "label": []}, r"a text was expected"),
    "half-a-character": ('{"text": "a\\ud83d", "spans": []}', r"half .* at 1: 'a"),
    "spans-no-list": ({"spans": 1}, r"a list was expected under 'spans', not 1"),
    "spans-of-text": ({"spans": ["x"]}, r"\[start, end, label\] was expected, not x"),
    "too-short": ({"label": [[0, 3]]}, r"label\] was expected, not \[0, 3\]"),
    "without-label": ({"spans": [CUT_OFF]}, r"a span without label: \{'start': 0"),
    "without-offsets": (
        {"spans": [{"label": "X"}]},
        r"a span without start and end: \{'label'",
    ),
    "half-an-offset": (
        {"entities": [{"start_offset": 0, "label": "X"}]},
        r"a span without end_offset",
    ),
    "label-is-none": ({"spans": [{**ANN, "label": None}]}, r"two numbers and a label"),
    "label-is-blank": ({"label": [[0, 3, " "]]}, r"two numbers and a label"),
    "label-begins-with-dash": ({"label": [[0, 3, "-X"]]}, r"numbers and a label"),
    "label-of-two-lines": ({"label": [[0, 3, "X\nY"]]}, r"two numbers and a label"),
    "label-is-half": ('{"text": "a", "label": [[0, 1, "\\ud83d"]]}', r"half a char"),
    "number-is-text": ({"label": [["0", 3, "X"]]}, r"two numbers and a label"),
    "number-is-true": ({"label": [[True, 3, "X"]]}, r"two numbers and a label"),
    "number-is-broken": ({"label": [[0.5, 3, "X"]]}, r"two numbers and a label"),
    "annotations-no-list": (
        {"data": {"text": "a"}, "annotations": {"a": 1}},
        r"a list of objects was expected under 'annotations'",
    ),
    "labels-no-text": (task(region(0, 3, 5)), r"two numbers and a label"),
    "words-no-list": ({"spans": [], "words": 3}, r"'words' are no spans of the text"),
    "words-of-text": ({"spans": [], "words": ["Ann"]}, r"'words' are no spans"),
    "words-overlap": ({"spans": [], "words": [[0, 3], [2, 4]]}, r"spans .* \(2, 4\)"),
    "words-outside": ({"spans": [], "words": [[0, 9]]}, r"of the text \(0, 9\)"),
    "words-empty": ({"spans": [], "words": [[1, 1]]}, r"of the text \(1, 1\)"),
    "words-infinite": (
        '{"text": "a", "spans": [], "words": [[0, 1e999]]}',
        r"'words' are no spans .*infinity",
    ),
    "missing-outside": ({"spans": [], "missing": [[-1, 2]]}, r"'missing' are no spans"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_records_are_told_and_left_out(tmp_path: Path, name: str) -> None:
    record, message = BROKEN[name]
    if isinstance(record, dict):
        named = {} if name == "no-text" else {"text": "Ann left"}
        record = json.dumps(named | record)
    good = json.dumps({"text": "Ann", "spans": [ANN]}) + "\n"
    texts, log = read(tmp_path, good * 19 + record)
    assert [text.spans for text in texts] == [SPAN] * 19
    [fault] = log.faults
    assert (fault.kind, fault.place) == ("broken record", "a:20")
    with pytest.raises(UserError, match=rf"1 of 19 are faulty.*\n.*{message}"):
        read(tmp_path, good * 18 + record)


@pytest.mark.parametrize(
    ("record", "skipped"),
    [
        ({}, {"texts without annotation": 1}),
        ({"spans": [ANN], "answer": "reject"}, {"texts answered 'reject'": 1}),
        ({"spans": [ANN], "answer": "ignore"}, {"texts answered 'ignore'": 1}),
        ({"label": "POSITIVE", "answer": "accept"}, {"texts without annotation": 1}),
        (task() | {"annotations": []}, {"texts without annotation": 1}),
        (task() | {"annotations": None}, {"texts without annotation": 1}),
        (task(was_cancelled=True), {"texts without annotation": 1}),
        ({"data": {"text": "a"}, "predictions": []}, {"texts without annotation": 1}),
    ],
)
def test_texts_without_annotation_are_passed_over(tmp_path, record, skipped) -> None:
    line = json.dumps({"text": "Ann left", **record})
    good = json.dumps({"text": "Ann", "spans": []})
    texts, log = read(tmp_path, f"{line}\n{good}")
    assert ([text.text for text in texts], dict(log.skipped)) == (["Ann"], skipped)
    assert not log.faults
    [what] = skipped
    message = rf"of prodigy, doccano, .* but there is none \(1 {what}\)\. Annotate"
    with pytest.raises(UserError, match=message):
        read(tmp_path, line)


@pytest.mark.parametrize("data", ["", "\n\n", "[]", "[\n]\n"])
def test_a_file_without_records_is_refused(tmp_path: Path, data: str) -> None:
    with pytest.raises(UserError, match=r"there is none \(the file holds no record\)"):
        read(tmp_path, data)


def test_the_first_annotation_that_was_not_cancelled_counts(tmp_path: Path) -> None:
    record = task(region(0, 3, "X"), was_cancelled=True)
    record["annotations"] += task(region(0, 3, "PER"))["annotations"]
    record["annotations"] += task(region(0, 3, "LOC"))["annotations"]
    text, log = read_one(tmp_path, **record)
    assert text.spans == SPAN
    assert log.skipped["further annotations of a text"] == 1


def test_of_several_labels_one_is_kept_and_the_others_told(tmp_path: Path) -> None:
    text, log = read_one(tmp_path, **task(region(0, 3, "PER", "LOC")))
    assert text.spans == [(0, 3, "LOC")]
    assert list(map(str, log.faults)) == ["a:1: overlapping spans: 0, 3, PER"]


def test_of_a_binary_answer_the_rest_is_unknown(tmp_path: Path) -> None:
    text, _ = read_one(tmp_path, spans=[ANN], answer="accept", _is_binary=True)
    assert (text.spans, text.missing) == (SPAN, [(3, 8)])
    doc = doc_from_text(NLP, text, FileLog("a"))
    assert [(token.text, token.ent_iob_) for token in doc] == [
        ("Ann", "B"),
        ("left", ""),
    ]


RECORD = '{\n "text": "Ann",\n "spans": []\n}'


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        ('{"text": "a", "spans": []}\n\n{"text": "b", "spans": []}', [1, 3]),
        (f"[{RECORD}, {RECORD}]", [1, 4]),
        (f"\n\n[\n{RECORD},\n{RECORD}\n]\n", [4, 8]),
        (f"[\r\n{RECORD},\r\n\r\n{RECORD}\r\n]", [2, 7]),
        ('[{"text": "\\n", "spans": []},\n{"text": "b", "spans": []}]', [1, 2]),
        ('[{"text": "a]", "spans": []}]', [1]),
    ],
)
def test_each_record_knows_its_line(tmp_path: Path, data: str, lines: list) -> None:
    assert [text.line for text in read(tmp_path, data)[0]] == lines


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (f"[\n{RECORD},\n{{", r"a\.json:6 is none: .* Export the file again"),
        (f"[\n{RECORD},\n", r"begins at .*a\.json:5 is none"),
        (f"[{RECORD}", r"begins at .*a\.json:4 is none"),
        (f"[{RECORD}]\n[{RECORD}]", r"ends at .*a\.json:4, but '\[\{.*' follows\. Put"),
        ("[" * 99_999, r"a\.json:1 is none: maximum recursion depth"),
    ],
)
def test_a_list_that_does_not_end_well_is_refused(tmp_path, data, message) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("text", "spans", "expected", "missing", "faults"),
    [
        ("Ann Li", [(0, 6), (0, 3)], [(0, 6)], [], ["overlapping spans: 0, 3, X"]),
        ("Ann Li", [(0, 3), (0, 3)], [(0, 3)], [], ["overlapping spans: 0, 3, X"]),
        (
            "Ann Lisa",
            [(0, 6), (4, 8)],
            [(0, 6)],
            [(6, 8)],
            ["overlapping spans: 4, 8, X"],
        ),
        ("Ann Li", [(4, 6), (0, 3)], [(0, 3), (4, 6)], [], []),
        ("AnnLi", [(3, 5), (0, 3)], [(0, 3), (3, 5)], [], []),
        ("Ann", [(0, 4)], [], [(0, 3)], ["span outside the text: 0, 4, X"]),
        ("Ann", [(-1, 2)], [], [(0, 3)], ["span outside the text: -1, 2, X"]),
        ("Ann", [(2, 1)], [], [(0, 3)], ["span outside the text: 2, 1, X"]),
        ("Ann", [(3, 3)], [], [], ["blank entity: 3, 3, X"]),
        ("a \u3000b", [(1, 3)], [], [], ["blank entity: 1, 3, X"]),
        (
            "a Ann\n",
            [(1, 6)],
            [(2, 5)],
            [],
            ["span with blank edges: 1, 6, X: ' Ann\\n'"],
        ),
    ],
)
def test_spans_that_cannot_be_entities(
    tmp_path, text, spans, expected, missing, faults
) -> None:
    made, log = read_one(tmp_path, text=text, label=[[*span, "X"] for span in spans])
    assert made.spans == [(*span, "X") for span in expected]
    assert [str(fault) for fault in log.faults] == [f"a:1: {f}" for f in faults]
    assert made.missing == missing


@pytest.mark.parametrize(
    ("text", "span", "quote", "expected", "fault"),
    [
        ("Ann left", (0, 3), "Ann", (0, 3), ""),
        ("Ann\r\nLi left", (0, 7), "Ann\nLi", (0, 7), ""),
        ("😀 Ann", (3, 6), "Ann", (2, 5), "offsets in UTF-16: 3, 6, X"),
        ("😀😀 𝒜nn", (5, 9), "𝒜nn", (3, 6), "offsets in UTF-16: 5, 9, X"),
        ("😀 Ann", (2, 5), "Ann", (2, 5), ""),
        ("Ann left", (1, 4), "Ann", None, "span and its text differ: 1, 4, X: 'Ann'"),
        ("Ann", (70, 73), "Ann", None, "span and its text differ: 70, 73, X: 'Ann'"),
        ("Ann", (-3, 0), "Ann", None, "span and its text differ: -3, 0, X: 'Ann'"),
    ],
)
def test_quotes_tell_wrong_offsets(tmp_path, text, span, quote, expected, fault):
    record = {**task(region(*span, "X", text=quote)), "data": {"text": text}}
    made, log = read_one(tmp_path, **record)
    assert made.spans == ([] if expected is None else [(*expected, "X")])
    assert made.missing == ([(0, len(text))] if expected is None else [])
    assert [str(found) for found in log.faults] == [f"a:1: {fault}"] * bool(fault)


def test_a_lost_quote_leaves_the_text_without_annotation(tmp_path: Path) -> None:
    spans = [region(0, 3, "PER", text="Ann"), region(7, 9, "LOC", text="Oslo")]
    record = {**task(*spans), "data": {"text": "Ann is in Oslo"}}
    text, _ = read_one(tmp_path, **record)
    assert (text.spans, text.missing) == (SPAN, [(3, 14)])
    doc = doc_from_text(NLP, text, FileLog("a"))
    assert [token.ent_iob_ for token in doc] == ["B", "", "", ""]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda more: {"spans": [ANN], **more},
        lambda more: {"label": [[0, 3, "PER"]], **more},
        lambda more: {
            **task(region(0, 3, "PER")),
            "data": {"text": "Ann left", **more},
        },
    ],
)
def test_words_and_missing_are_read_back(tmp_path: Path, wrap) -> None:
    more = {"words": [[0, 3], [4, 6], [6, 8]], "missing": [[6, 8]]}
    text, log = read_one(tmp_path, **wrap(more))
    assert text.words == [(0, 3), (4, 6), (6, 8)]
    assert (text.missing, text.spans, log.faults) == ([(6, 8)], SPAN, [])
    doc = doc_from_text(NLP, text, log)
    assert [token.ent_iob_ for token in doc] == ["B", "O", ""]


@pytest.mark.parametrize(
    ("missing", "spans", "expected"),
    [
        ([(0, 5), (3, 9)], [(2, 4)], [(0, 2), (4, 5), (5, 9)]),
        ([(3, 5), (0, 2)], [], [(0, 2), (3, 5)]),
        ([(0, 9), (2, 4)], [], [(0, 9)]),
        ([(0, 9)], [(0, 2), (5, 9)], [(2, 5)]),
        ([(2, 4)], [(0, 9)], []),
        ([(3, 3)], [], []),
        ([], [(0, 2)], []),
    ],
)
def test_a_span_is_no_missing_text(missing, spans, expected) -> None:
    assert _uncovered(missing, [(*span, "X") for span in spans]) == expected


bounds = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted).map(tuple)
labels = st.sampled_from("XY")
char_spans = st.lists(bounds.filter(lambda b: b[0] < b[1]), max_size=5)
typed = st.lists(st.builds(lambda b, k: (*b, k), bounds, labels), max_size=8)


def covered(spans) -> set[int]:
    return {char_i for start, end, *_ in spans for char_i in range(start, end)}


@given(spans=typed.map(lambda spans: [s for s in spans if s[0] < s[1]]))
def test_the_longest_spans_are_kept(spans: list) -> None:
    """Against the definition: a span stays if no longer one that stays overlaps it."""
    kept, reported = _longest(spans)
    assert sorted(kept + reported) == sorted(spans)
    assert kept == sorted(kept)
    assert sum(end - start for start, end, _ in kept) == len(covered(kept))
    assert all(
        any(
            covered([span]) & covered([other])
            and other[1] - other[0] >= span[1] - span[0]
            for other in kept
        )
        for span in reported
    )


@given(missing=char_spans, spans=typed)
def test_missing_text_is_exactly_what_no_span_covers(missing, spans) -> None:
    kept, _ = _longest([s for s in spans if s[0] < s[1]])
    left = _uncovered(missing, kept)
    assert covered(left) == covered(missing) - covered(kept)
    assert sum(end - start for start, end in left) == len(covered(left))


@given(text=st.text("aä北😀𝒜\u200d", max_size=12), data=st.data())
def test_utf16_offsets_are_counted_as_browsers_do(text: str, data) -> None:
    char_i = data.draw(st.integers(0, len(text)))
    units = len(text[:char_i].encode("utf-16-le")) // 2
    assert _from_utf16(text, units) == char_i


WORDS = st.text("ab 北\n.'", max_size=10)


@given(text=WORDS, spans=typed, missing=char_spans)
def test_every_record_that_is_read_becomes_a_doc(
    tmp_path_factory, text, spans, missing
):
    record = {"text": text, "label": spans, "missing": []}
    found, _ = _longest([(*s, "") for s in missing if s[1] <= len(text)])
    record["missing"] = [[start, end] for start, end, _ in found]
    path, log = tmp_path_factory.getbasetemp() / "a.jsonl", FileLog("a")
    path.write_text(json.dumps(record), "utf-8")
    [made] = read_records(path, "utf-8", log)
    doc = doc_from_text(NLP, made, log)
    ents = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
    assert ents == made.spans
    unknown = covered((t.idx, t.idx + len(t)) for t in doc if t.ent_iob == 0)
    inside = covered((t.idx, t.idx + len(t)) for t in doc)
    assert unknown == covered(made.missing) & inside
