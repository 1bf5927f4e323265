import sys
from pathlib import Path

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from retainer.conll import Sentence
from retainer.errors import UserError
from retainer.faults import FileLog
from retainer.hub import read_dataset
from retainer.layout import ReadOptions

BIO = ["O", "B-X", "I-X"]
STRINGS = List(Value("string"))


def make(tokens: list, tags: list, names: list[str] | None = None) -> Dataset:
    """tags: the numbers of the names, or text where there are none."""
    item = Value("string") if names is None else ClassLabel(names=names)
    features = Features({"tokens": STRINGS, "ner_tags": List(item)})
    return Dataset.from_dict({"tokens": tokens, "ner_tags": tags}, features=features)


def read(path: Path | str, **options: str) -> tuple[list[Sentence], FileLog]:
    log = FileLog("name")
    return list(read_dataset(Path(path), ReadOptions(**options), log)), log


def read_saved(
    folder: Path, rows: Dataset, **options: str
) -> tuple[list[Sentence], FileLog]:
    rows.save_to_disk(folder / "saved")
    return read(folder / "saved", **options)


def texts(sentences: list[Sentence]) -> list[str]:
    return [" ".join(sentence.tokens) for sentence in sentences]


TRAIN = make([["Ann", "Li"], ["left"]], [[1, 2], [0]], BIO)
TEST = make([["Bo"]], [[1]], BIO)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The same dataset in each form in which one can lie on a disk."""
    folder = tmp_path_factory.mktemp("datasets")
    TRAIN.to_parquet(folder / "a.parquet")
    TRAIN.save_to_disk(folder / "saved")
    DatasetDict(train=TRAIN, test=TEST).save_to_disk(folder / "splits")
    DatasetDict(train=TRAIN).save_to_disk(folder / "one-split")
    for name, rows in (("train", TRAIN), ("test", TEST)):
        rows.to_parquet(folder / "parquet" / f"{name}-00000-of-00001.parquet")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{}/a.parquet", ["Ann Li", "left"]),
        ("hf:{}/a.parquet", ["Ann Li", "left"]),
        ("{}/saved", ["Ann Li", "left"]),
        ("hf:{}/saved", ["Ann Li", "left"]),
        ("{}/one-split", ["Ann Li", "left"]),
        ("hf:{}/splits?split=train", ["Ann Li", "left"]),
        ("hf:{}/splits?split=test", ["Bo"]),
        ("hf:{}/parquet?split=train", ["Ann Li", "left"]),
        ("hf:{}/parquet?split=test", ["Bo"]),
    ],
)
def test_datasets_are_read_wherever_they_lie(folder, name: str, expected: list) -> None:
    sentences, log = read(name.format(folder))
    assert texts(sentences) == expected
    assert log.layout == "dataset, tokens and ner_tags, BIO"
    assert sentences[0].tags == ["B-X", "I-X"][: len(sentences[0].tokens)]
    assert [s.lines for s in sentences][:1] == [[1] * len(sentences[0].tokens)]
    assert {s.path for s in sentences} == {"name"}
    assert not log.faults


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "hf:{}/splits",
            r"A split among train, test .* it is ''\. Write it as hf:/",
        ),
        ("{}/splits", r"Write it as hf:/.*/splits\?split=train\."),
        ("hf:{}/splits?split=dev", r"A split among train, test .* it is 'dev'"),
        ("hf:{}/one-split?split=dev", r"A split among train was .* it is 'dev'"),
        ("hf:{}/parquet?split=dev", r"A split among train, test .* it is 'dev'"),
        ("hf:{}/saved?split=dev", r"No split was expected .* 'dev'\. Leave it away"),
        ("hf:{}/a.parquet?split=dev", r"No split was expected .* it is 'dev'"),
        ("hf:{}/saved?lang=en&x=", r"among name, split, revision .* but lang, x came"),
        (
            "hf:{}/none",
            r"expected at 'hf:.*/none', but it cannot be loaded: .*[^.]\. C",
        ),
    ],
)
def test_what_cannot_be_found_is_told(folder: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(name.format(folder))


def test_a_broken_parquet_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("none")
    with pytest.raises(UserError, match=r"a\.parquet', but it cannot be loaded"):
        read(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("no route\nto host"), "no route"),
        (ConnectionError(), "ConnectionError"),
        (ValueError("\n"), "ValueError"),
    ],
)
def test_the_hub_may_be_out_of_reach(monkeypatch, error, reason: str) -> None:
    def fail(*args, **kwargs) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(UserError, match=rf"at 'hf:a/b', .* loaded: {reason}\. Correct"):
        read("hf:a/b")


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {}),
        ("?split=train", {}),
        ("?name=en", {"name": "en"}),
        ("?name=en&split=train&revision=a1", {"name": "en", "revision": "a1"}),
    ],
)
def test_what_is_asked_of_the_hub(monkeypatch, query: str, wanted: dict) -> None:
    asked = []

    def load(path: str, **settings) -> DatasetDict:
        asked.append((path, settings))
        return DatasetDict(train=TRAIN)

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert texts(read(f"hf:a/b{query}")[0]) == ["Ann Li", "left"]
    assert asked == [("a/b", wanted)]


def test_the_library_may_be_absent(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"`datasets` was .* `pip install datasets`"):
        read("hf:a/b")


@pytest.mark.parametrize(
    ("names", "tags", "scheme", "expected"),
    [
        (BIO, [1, 2, 0], "BIO", "B-X I-X O"),
        (["O", "I-X", "B-X"], [1, 2, 0], "IOB1", "I-X B-X O"),
        (["O", "B-X", "I-X", "E-X", "S-X"], [1, 3, 4], "BIOES", "B-X E-X S-X"),
        (["O", "B-X", "I-X", "L-X", "U-X"], [1, 3, 4], "BILOU", "B-X L-X U-X"),
        (["O", "B-X", "M-X", "E-X", "S-X"], [1, 2, 3], "BMES", "B-X I-X E-X"),
        (["O", "X", "Y"], [1, 2, 0], "plain", "I-X I-Y O"),
        (BIO, [-100, 1, -100], "BIO", "- B-X -"),
        (None, ["B-X", "I-X", "O"], "BIO", "B-X I-X O"),
        (None, ["I-X", "B-X", "O"], "IOB1", "I-X B-X O"),
        (None, ["X", "O", "O"], "plain", "I-X O O"),
        (None, ["B-X", None, ""], "BIO", "B-X - -"),
        (None, ["B-X", "-", "O"], "BIO", "B-X - O"),
    ],
)
def test_tags_of_every_scheme(tmp_path, names, tags, scheme, expected: str) -> None:
    rows = make([["a", "b", "c"]], [tags], names)
    [sentence], log = read_saved(tmp_path, rows)
    assert sentence.tags == expected.split()
    assert log.layout == f"dataset, tokens and ner_tags, {scheme}"
    assert not log.faults


def test_a_given_scheme_is_used(tmp_path: Path) -> None:
    rows = make([["a", "b"]], [["I-X", "B-X"]])
    log = read_saved(tmp_path, rows, scheme="BIO")[1]
    assert list(map(str, log.faults)) == ["name:1: illegal transition: I-X behind O"]


def plain_rows(n: int, *more: tuple[list, list]) -> Dataset:
    """n rows of nothing wrong, then others."""
    rows = [(["Ann", "left"], ["B-X", "O"])] * n + list(more)
    return make([tokens for tokens, _ in rows], [tags for _, tags in rows])


@pytest.mark.parametrize(
    ("row", "fault", "kept"),
    [
        ((["a", "b"], ["O"]), "broken record: 2 tokens, 1 tags", None),
        (([], ["O"]), "broken record: 0 tokens, 1 tags", None),
        ((None, ["O"]), "broken record: 0 tokens, 1 tags", None),
        ((["", "b"], ["B-X", "O"]), "empty token: with the tag 'B-X'", "O"),
        (([None, "b"], ["O", "O"]), "empty token: with the tag 'O'", "O"),
        ((["a", "b"], ["b-X", "O"]), "unreadable tag: 'b-X' of the token 'a'", "- O"),
        ((["a", "b"], ["5", "O"]), "unreadable tag: '5' of the token 'a'", "- O"),
        ((["a", "b"], ["O", "I-X"]), "illegal transition: I-X behind O", "O I-X"),
    ],
)
def test_faulty_rows_are_told(tmp_path, row: tuple, fault: str, kept) -> None:
    sentences, log = read_saved(tmp_path, plain_rows(19, row))
    assert list(map(str, log.faults)) == [f"name:20: {fault}"]
    tags = [" ".join(sentence.tags) for sentence in sentences]
    assert tags == ["B-X O"] * 19 + [kept] * (kept is not None)


def test_too_many_faulty_rows_are_refused(tmp_path: Path) -> None:
    broken = (["a"] * 9, ["_"] * 9)
    message = r"faulty rows .* but 1 of 19 are faulty, read as dataset, tokens and"
    with pytest.raises(UserError, match=message):
        read_saved(tmp_path, plain_rows(18, broken))
    read_saved(tmp_path, plain_rows(19, broken))


def test_numbers_without_a_name_are_told(tmp_path: Path) -> None:
    rows = make([["a", "b"]], [[3, 0]], [*BIO, "S-X"])
    rows = Dataset(rows.data, info=TRAIN.info)  # whose names are fewer
    with pytest.raises(UserError, match="unreadable tag: '3' of the token 'a'"):
        read_saved(tmp_path, rows)


def test_empty_rows_are_passed_over(tmp_path: Path) -> None:
    sentences, log = read_saved(tmp_path, plain_rows(1, ([], []), (None, None)))
    assert [sentence.lines for sentence in sentences] == [[1, 1]]
    assert dict(log.skipped) == {"rows without tokens": 2}
    assert not log.faults


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"quet', but it cannot be loaded: .*[^.!]\. Correct"),
        ([([], [])], r"Rows with tokens were expected in '.*quet', but there are none"),
    ],
)
def test_a_dataset_without_tokens_is_refused(tmp_path, rows, message: str) -> None:
    plain_rows(0, *rows).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.parquet")


def test_columns_have_usual_names_or_given_ones(tmp_path: Path) -> None:
    columns = {"words": [["a"]], "form": [["b"]], "tags": [["B-X"]], "up": [["B-Y"]]}
    rows = Dataset.from_dict({"id": [1], **columns})
    [sentence], log = read_saved(tmp_path, rows)
    assert (sentence.tokens, sentence.tags) == (["a"], ["B-X"])
    assert log.layout == "dataset, words and tags, BIO"
    [sentence], log = read(tmp_path / "saved", token_column="form", tag_column="up")
    assert (sentence.tokens, sentence.tags) == (["b"], ["B-Y"])


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text": ["a"]}, {}, r"A column tokens or words was .* there are text\. Name"),
        ({"tokens": [["a"]]}, {}, r"A column ner_tags or tags or labels or ner was"),
        (
            {"tokens": [["a"]], "tags": [["O"]]},
            {"tag_column": "2"},
            r"A column 2 was expected in '.*', but there are tokens, tags",
        ),
        (
            {"tokens": [["a"]], "tags": [[0]]},
            {},
            r"names \(ClassLabel\), .* column 'tags' .* Dataset\.cast_column",
        ),
        ({"tokens": [["a"]], "tags": ["O"]}, {}, r"Tags, or numbers .* 'tags'"),
        ({"tokens": [["a"]], "tags": [[["O"]]]}, {}, r"Tags, or numbers .* 'tags'"),
        ({"tokens": ["a b"], "tags": [["O"]]}, {}, r"A list of tokens .* 'tokens' of"),
        (
            {"tokens": [[5]], "tags": [["O"]]},
            {},
            r"A list of tokens in each row .* Name",
        ),
    ],
)
def test_columns_of_another_kind_are_refused(tmp_path, columns, options, message):
    with pytest.raises(UserError, match=message):
        read_saved(tmp_path, Dataset.from_dict(columns), **options)
