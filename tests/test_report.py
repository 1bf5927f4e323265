from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import srsly
from spacy.language import Language
from spacy.scorer import PRFScore
from spacy.tokens import Doc, Span

from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.markdown import (
    examples_table,
    summary_table,
    to_markdown,
    to_table,
)
from retainer.pipelines import (
    load_student,
    load_teacher,
    predict,
    predict_on_gold_tokens,
)
from retainer.report import (
    Measured,
    build_report,
    compare,
    count,
    difference,
    file_names,
    forgetting,
    learnt,
    merge,
    points,
    token_scores,
)

# F1 of PER 80 and then 75, of ORG 33.33 and then 66.67, of both 69.23 and then 72.73
BEFORE = {"PER": PRFScore(tp=8, fp=2, fn=2), "ORG": PRFScore(tp=1, fp=1, fn=3)}
AFTER = {"PER": PRFScore(tp=6, fn=4), "ORG": PRFScore(tp=2, fn=2)}
PER_ROW = {"before": 80.0, "after": 75.0, "lost": 5.0, "entities": 10}
ORG_ROW = {"before": 33.33, "after": 66.67, "lost": -33.34, "entities": 4}
NO_ROW = {"before": None, "after": None, "lost": None, "entities": 0}


def as_tuples(counts: dict[str, PRFScore]) -> dict[str, tuple[int, int, int]]:
    return {kind: (prf.tp, prf.fp, prf.fn) for kind, prf in counts.items()}


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["PER"], 80.0),
        (["ORG"], 33.33),
        (["PER", "ORG"], 69.23),
        (["PER", "LOC"], 80.0),
        (["LOC"], None),
        ([], None),
    ],
)
def test_points(types: list[str], expected: float | None) -> None:
    assert points(BEFORE, types) == expected


def test_no_entity_found_is_no_points() -> None:
    assert points({"PER": PRFScore(fn=3)}, ["PER"]) == 0.0


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (80.0, 75.0, -5.0),
        (0.1, 0.3, 0.2),
        (0.0, 0.0, 0.0),
        (None, 75.0, None),
        (80.0, None, None),
        (None, None, None),
    ],
)
def test_difference(
    before: float | None, after: float | None, expected: float | None
) -> None:
    assert difference(before, after) == expected


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        (["PER"], PER_ROW | {"by_type": {"PER": PER_ROW}}),
        (
            ["PER", "ORG"],
            {"before": 69.23, "after": 72.73, "lost": -3.5, "entities": 14}
            | {"by_type": {"PER": PER_ROW, "ORG": ORG_ROW}},
        ),
        (["LOC"], NO_ROW | {"by_type": {"LOC": NO_ROW}}),
        ([], NO_ROW | {"by_type": {}}),
    ],
)
def test_compare(types: list[str], expected: dict) -> None:
    assert compare(BEFORE, AFTER, types) == expected


def test_a_type_that_only_one_of_them_sees() -> None:
    row = compare({}, {"LOC": PRFScore(fp=1)}, ["LOC"])["by_type"]["LOC"]
    assert row == {"before": None, "after": 0.0, "lost": None, "entities": 0}


def test_learnt() -> None:
    counts = {"PHONE": PRFScore(tp=2, fn=1), "FACILITY": PRFScore(tp=1, fp=3)}
    nothing = {"p": None, "r": None, "f1": None, "entities": 0}
    assert learnt(counts, ["PHONE", "FACILITY", "COURIER"]) == {
        **{"p": 50.0, "r": 75.0, "f1": 60.0, "entities": 4},
        "by_type": {
            "PHONE": {"p": 100.0, "r": 66.67, "f1": 80.0, "entities": 3},
            "FACILITY": {"p": 25.0, "r": 100.0, "f1": 40.0, "entities": 1},
            "COURIER": nothing,
        },
    }
    assert learnt({}, []) == nothing | {"by_type": {}}


def test_merge() -> None:
    parts = [BEFORE, {}, {"ORG": PRFScore(tp=1), "LOC": PRFScore(fp=1)}]
    merged = merge(iter(parts))
    expected = {"PER": (8, 2, 2), "ORG": (2, 1, 3), "LOC": (0, 1, 0)}
    assert as_tuples(merged) == expected
    assert as_tuples(BEFORE) == {"PER": (8, 2, 2), "ORG": (1, 1, 3)}
    assert merge([]) == {}


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ([], []),
        (["old/de.spacy", "old/fr.conll"], ["de", "fr"]),
        (["old/de.spacy", "new/de.spacy"], ["old/de.spacy", "new/de.spacy"]),
        (
            ["a/de.spacy", "a/de.conll", "a/fr.conll"],
            ["a/de.spacy", "a/de.conll", "a/fr.conll"],
        ),
        (["a/de.test.spacy"], ["de.test"]),
    ],
)
def test_file_names(files: list[str], names: list[str]) -> None:
    expected = [str(Path(name)) for name in names]
    assert file_names([Path(file) for file in files]) == expected


def test_forgetting_is_a_mean_over_files() -> None:
    files = {
        "de": Measured(BEFORE, AFTER | {"PHONE": PRFScore(tp=1, fp=2, fn=4)}, {}),
        "fr": Measured({"PER": PRFScore(tp=1)}, {"PER": PRFScore(tp=1, fp=2)}, {}),
        "es": Measured({"LOC": PRFScore(fp=1)}, {"LOC": PRFScore(fp=1)}, {}),
    }
    lost = forgetting(files, ["PER", "ORG"])
    assert list(lost) == ["mean", "worst", "by_file"]
    by_file = {name: row["lost"] for name, row in lost["by_file"].items()}
    assert by_file == {"de": -3.5, "fr": 50.0, "es": None}
    assert (lost["mean"], lost["worst"]) == (23.25, 50.0)
    found = {name: row["new_types_found"] for name, row in lost["by_file"].items()}
    assert found == {"de": 3, "fr": 0, "es": 1}


def test_raw_text_is_compared_with_gold_tokens() -> None:
    files = {"de": Measured({}, AFTER, BEFORE), "es": Measured({}, {}, {})}
    assert token_scores(files) == {
        "de": {"raw": 72.73, "gold": 69.23, "lost": -3.5},
        "es": {"raw": None, "gold": None, "lost": None},
    }


@pytest.mark.parametrize("files", [{}, {"es": Measured({}, {}, {})}])
def test_nothing_to_forget(files: dict) -> None:
    lost = forgetting(files, ["PER"])
    assert (lost["mean"], lost["worst"]) == (None, None)
    assert list(lost["by_file"]) == list(files)


def make_pipeline(**words: str) -> Language:
    """A pipeline that finds these words, in the place of a trained one."""
    nlp = blank_pipeline("xx")
    ruler = nlp.add_pipe("entity_ruler", name="transformer_ner")
    ruler.add_patterns(
        [
            {"label": kind, "pattern": word}
            for kind, listed in words.items()
            for word in listed.split()
        ]
    )
    return nlp


@pytest.fixture(scope="module")
def teacher() -> Language:
    return make_pipeline(ORG="DHL", PER="Anna Bob")


@pytest.fixture(scope="module")
def student() -> Language:
    """It has forgotten DHL and Bob."""
    return make_pipeline(ORG="Acme", PER="Anna", PHONE="555 777", COURIER="Northway")


def write(path: Path, *sentences: str) -> Path:
    """Example: "Anna/PER left" as one sentence of CoNLL."""
    blocks = []
    for sentence in sentences:
        pairs = [token.partition("/") for token in sentence.split()]
        blocks.append(
            "\n".join(f"{word}\t{'B-' + k if k else 'O'}" for word, _, k in pairs)
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(blocks) + "\n", encoding="utf8")
    return path


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("old")
    return [
        write(folder / "de.conll", "Anna/PER sah Anna/PER", "Bob/PER"),
        write(folder / "fr.conll", "Bob/PER et 555"),
        write(folder / "es.conll", "hola 777/PHONE"),
    ]


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("new")
    return [
        write(folder / "waybill.conll", "Anna/PER calls 555/PHONE at DHL/ORG"),
        write(folder / "note.conll", "Zed/PET has 777/PHONE and 888/PHONE"),
    ]


@pytest.fixture(scope="module")
def report(
    teacher: Language, student: Language, old: list[Path], new: list[Path]
) -> dict[str, Any]:
    return build_report(teacher, student, new, old)


def test_report_has_its_keys(report: dict[str, Any]) -> None:
    assert list(report) == [
        "old_types",
        "new_types",
        "unknown_types",
        "forgetting",
        "new",
        "old_in_new",
        "confusions",
        "examples",
        "tokens",
    ]
    assert {"mean", "worst", "by_file"} <= set(report["forgetting"])
    assert {"f1", "by_type"} <= set(report["new"])
    assert srsly.json_loads(srsly.json_dumps(report)) == report


def test_types_are_those_of_the_pipelines(report: dict[str, Any]) -> None:
    assert report["old_types"] == ["ORG", "PER"]
    assert report["new_types"] == ["COURIER", "PHONE"]


def test_report_of_the_old_domain(report: dict[str, Any]) -> None:
    lost = report["forgetting"]
    assert (lost["mean"], lost["worst"]) == (60.0, 100.0)
    row = {"before": 100.0, "after": 80.0, "lost": 20.0, "entities": 3}
    assert lost["by_file"] == {
        "de": row | {"by_type": {"ORG": NO_ROW, "PER": row}, "new_types_found": 0},
        "fr": {
            **{"before": 100.0, "after": 0.0, "lost": 100.0, "entities": 1},
            "by_type": {
                "ORG": NO_ROW,
                "PER": {"before": 100.0, "after": 0.0, "lost": 100.0, "entities": 1},
            },
            "new_types_found": 1,
        },
        "es": NO_ROW
        | {"by_type": {"ORG": NO_ROW, "PER": NO_ROW}, "new_types_found": 1},
    }


def test_report_of_the_new_domain(report: dict[str, Any]) -> None:
    new, old = report["new"], report["old_in_new"]
    phone = {"p": 100.0, "r": 66.67, "f1": 80.0, "entities": 3}
    assert {key: new[key] for key in phone} == phone
    assert new["by_type"]["PHONE"] == phone
    assert new["by_type"]["COURIER"]["f1"] is None
    by_file = {name: row["f1"] for name, row in new["by_file"].items()}
    assert by_file == {"waybill": 100.0, "note": 66.67}
    assert (old["before"], old["after"], old["lost"]) == (100.0, 66.67, 33.33)
    assert {kind: row["lost"] for kind, row in old["by_type"].items()} == {
        "ORG": 100.0,
        "PER": 0.0,
    }
    assert {name: row["lost"] for name, row in old["by_file"].items()} == {
        "waybill": 33.33,
        "note": None,
    }


def test_lost_entities_of_both_domains(report: dict[str, Any]) -> None:
    """Their net is what true positives fell by: see `test_forgotten`."""
    lost = {
        domain: {name: row["net_lost"] for name, row in part["by_file"].items()}
        for domain, part in report["confusions"].items()
    }
    assert lost == {
        "old": {"de": 1, "fr": 1, "es": 0},
        "new": {"waybill": 1, "note": 0},
    }
    old, new = (report["confusions"][domain]["all"] for domain in ("old", "new"))
    assert (old["entities"], old["kept"], old["lost"], old["won"]) == (4, 2, 2, 0)
    assert old["found_in_nothing"] == {"PHONE": 1}  # of fr; that of es is gold
    assert new["by_type"]["ORG"]["became"]["nothing"] == 1


def test_examples_of_both_domains(report: dict[str, Any], old: list[Path]) -> None:
    examples = report["examples"]
    files = [(example["domain"], example["file"]) for example in examples]
    assert files == [("old", "de"), ("old", "fr"), ("new", "waybill")]
    bob = {"start": 0, "end": 3, "label": "PER"}
    assert examples[1] == {
        **{"domain": "old", "file": "fr", "place": f"{old[1]}:1"},
        **{"text": "Bob et 555", "entity": bob, "gold": [bob], "teacher": [bob]},
        "student": [{"start": 7, "end": 10, "label": "PHONE"}],
        "became": "O",
    }


def test_markdown_shows_what_is_said_in_part() -> None:
    lost = {"start": 3, "end": 11, "label": "LOC"}
    example = {
        **{"file": "a|b", "text": "in <New> Yo\nrk", "entity": lost, "teacher": [lost]},
        "student": [
            {"start": 0, "end": 3, "label": "PHONE"},
            {"start": 4, "end": 7, "label": "ORG"},
            {"start": 9, "end": 14, "label": "LOC"},
        ],
    }
    table = to_table(examples_table([example]))
    said = "ORG of New, LOC of Yo rk"
    row = f"| a\\|b | in [&lt;New> Yo] rk | LOC | LOC | {said} |"
    assert table.splitlines()[2] == row


def test_types_that_neither_knows_are_reported(report: dict[str, Any]) -> None:
    assert report["unknown_types"] == {"PET": 1}
    assert "Gold entities of types that neither knows: PET (1)." in to_markdown(report)
    known = to_markdown(report | {"unknown_types": {}})
    assert "neither knows" not in known


def tables_of(markdown: str) -> list[list[list[str]]]:
    """Tables, rows, cells."""
    blocks = [block.splitlines() for block in markdown.split("\n\n")]
    return [
        [line.strip("|").split("|") for line in lines]
        for lines in blocks
        if any(line.startswith("|") for line in lines)
    ]


def test_markdown_is_well_formed(report: dict[str, Any]) -> None:
    markdown = to_markdown(report)
    tables = tables_of(markdown)
    assert len(tables) == 14
    for header, rule, *rows in tables:
        assert rows
        assert {len(row) for row in [rule, *rows]} == {len(header)}
        assert set("".join(rule)) <= set("-: ")
    assert markdown.startswith("# Learnt and forgotten\n\n| ")
    seen = "Entities of new types that the student sees in the old domain: 2."
    assert f"\n{seen} Of the gold entities" in markdown


@pytest.mark.parametrize(
    "row",
    [
        "| F1, points | teacher | student | lost |",
        "| old types, old domain, mean over files | 100.00 | 40.00 | 60.00 |",
        "| old types, old domain, worst file | - | - | 100.00 |",
        "| old types, new domain | 100.00 | 66.67 | 33.33 |",
        "| new types, new domain | - | 80.00 | - |",
        "| file | entities | teacher | student | lost | ORG lost | PER lost |",
        "| de | 3 | 100.00 | 80.00 | 20.00 | - | 20.00 |",
        "| es | 0 | - | - | - | - | - |",
        "| waybill | 2 | 100.00 | 66.67 | 33.33 | 100.00 | 0.00 |",
        "| type | entities | precision | recall | F1 |",
        "| all | 3 | 100.00 | 66.67 | 80.00 |",
        "| COURIER | 0 | - | - | - |",
        "| file | entities | F1 | COURIER | PHONE |",
        "| note | 2 | 66.67 | - | 66.67 |",
        "| file | entities | kept | lost | won | net lost | teacher wrong "
        "| student wrong | nothing | other bounds | other old type | new type |",
        "| de | 3 | 2 | 1 | 0 | 1 | 0 | 0 | 1 | 0 | 0 | 0 |",
        "| all | 4 | 2 | 2 | 0 | 2 | 0 | 0 | 2 | 0 | 0 | 0 |",
        "| file | ORG | of ORG | PER | of PER |",
        "| all | - | - | 2 | 4 |",
        "| gold type | entities | kept | lost | won | net lost | nothing "
        "| other bounds |",
        "| PER | 4 | 2 | 2 | 0 | 2 | 2 | 0 |",
        "| file | PHONE |",
        "| fr | 1 |",
        "| de | [Bob] | PER | PER | O |",
        "| waybill | Anna calls 555 at [DHL] | ORG | ORG | O |",
    ],
)
def test_markdown_says(report: dict[str, Any], row: str) -> None:
    assert row in to_markdown(report).splitlines()


def test_summary_is_the_first_table(report: dict[str, Any]) -> None:
    table = summary_table(report)
    assert len(table.splitlines()) == 6
    assert to_markdown(report).split("\n\n")[1] == table


def test_report_of_nothing(teacher: Language, student: Language) -> None:
    report = build_report(teacher, student, [], [])
    assert report["forgetting"] == {"mean": None, "worst": None, "by_file": {}}
    assert (report["new"]["f1"], report["old_in_new"]["lost"]) == (None, None)
    assert report["confusions"]["old"]["all"]["entities"] == 0
    assert report["examples"] == []
    tables = tables_of(to_markdown(report))
    assert all(len(row) == len(table[0]) for table in tables for row in table)


def test_pipelines_are_measured_on_raw_text(student: Language) -> None:
    """Whatever tokens the reference has; and the progress can be shown."""
    first = Doc(student.vocab, words=["An", "na", "555"], spaces=[False, True, False])
    first.set_ents([Span(first, 0, 2, "PER"), Span(first, 2, 3, "ORG")])
    second = Doc(student.vocab, words=["Anna-", "Bob"], spaces=[False, False])
    second.set_ents([Span(second, 1, 2, "PER")])
    totals = []

    def track(docs: Iterable[Doc], total: int) -> Iterable[Doc]:
        totals.append(total)
        return docs

    references = [first, second]
    docs = predict(student, references, track)
    counts = as_tuples(count(docs, references))
    assert counts == {"PER": (1, 1, 1), "ORG": (0, 0, 1), "PHONE": (0, 1, 0)}
    assert totals == [2]
    on_gold = predict_on_gold_tokens(student, docs, references, track)
    assert as_tuples(count(on_gold, references)) == {
        "PER": (0, 0, 2),  # it knows no "An", "na"
        "ORG": (0, 0, 1),
        "PHONE": (0, 1, 0),
    }
    assert totals == [2, 2]
    assert [ent.label_ for ent in first.ents] == ["PER", "ORG"]


def test_progress_is_shown_for_each_file_and_pipeline(
    teacher: Language, student: Language, old: list[Path], new: list[Path]
) -> None:
    totals = []

    def track(docs: Iterable[Doc], total: int) -> Iterable[Doc]:
        totals.append(total)
        return docs

    build_report(teacher, student, new, old, track)
    assert totals == [2, 2, 1, 1, 1, 1, 1, 1, 1, 1]


def test_checkpoint_is_a_teacher(checkpoint: Path) -> None:
    nlp = load_teacher(str(checkpoint))
    assert nlp.pipe_names == ["transformer_ner"]
    assert nlp.get_pipe("transformer_ner").labels == ("PER", "ORG", "LOC")
    assert nlp("Anna Weber sent a parcel to Lisbon by Northway Freight .").ents


def test_trained_pipeline_is_a_student(student: Language, tmp_path: Path) -> None:
    student.to_disk(tmp_path)
    nlp = load_student(str(tmp_path))
    assert [ent.label_ for ent in nlp("Anna 555").ents] == ["PER", "PHONE"]


def test_nothing_there_to_load(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected at '.*none', but it cannot be load"):
        load_student(str(tmp_path / "none"))


def test_folder_that_is_no_pipeline(tmp_path: Path) -> None:
    message = r"cannot be loaded: .*meta\.json.* Give the folder that `spacy train`"
    with pytest.raises(UserError, match=message):
        load_student(str(tmp_path))


@pytest.mark.parametrize(
    ("pipes", "listed"), [([], "none"), (["sentencizer"], "sentencizer")]
)
def test_pipeline_without_the_component(
    tmp_path: Path, pipes: list[str], listed: str
) -> None:
    nlp = blank_pipeline("xx")
    for pipe in pipes:
        nlp.add_pipe(pipe)
    nlp.to_disk(tmp_path)
    message = rf"a component `transformer_ner` was expected.* but it has {listed}\."
    with pytest.raises(UserError, match=message):
        load_student(str(tmp_path))
