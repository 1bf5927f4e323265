"""The sample corpus: the same every time, and no split knows another's names."""

import os
import subprocess
import sys
import unicodedata
from collections import defaultdict
from pathlib import Path

import pytest
import srsly

from retainer.conll import read_conll
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.labels import spans_from_tags, split_tag
from retainer.sample import (
    OLD_TYPES,
    SHARES,
    STYLES,
    Drawer,
    make_files,
    make_sentences,
    read_templates,
    split_of,
    tag,
    without_types,
)

ROOT = Path(__file__).parents[1]
PATHS = sorted((ROOT / "corpus" / "templates").glob("*.yml"))
SCRIPTS = {
    "ar": "ARABIC",
    "de": "LATIN",
    "en": "LATIN",
    "es": "LATIN",
    "fr": "LATIN",
    "ja": "CJK",
    "ko": "HANGUL",
    "ru": "CYRILLIC",
    "zh": "CJK",
}
FOLDERS = {
    *(f"general/{split}" for split in ("train", "dev", "test")),
    *(f"delivery/{split}" for split in ("train-full", "train-partial", "dev", "test")),
}


@pytest.fixture(scope="session")
def nlp():
    return blank_pipeline("xx")


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, nlp):
    """Sentences by (language, folder)."""
    sentences = {}
    path = tmp_path_factory.mktemp("sample") / "file.conll"
    for source in PATHS:
        files = make_files(read_templates(source), nlp, sentences=200, seed=0)
        for folder, text in files.items():
            path.write_text(text, encoding="utf8")
            sentences[source.stem, folder] = list(read_conll(path))
    return sentences


@pytest.fixture
def language():
    """A small language file that is right, for tests to break."""
    names = [f"Name {letter}" for letter in "abcdefghijklmnopqrst"]
    entities = sorted({kind for kinds in STYLES.values() for kind in kinds})
    one = {"train": ["One {PER}"], "dev": ["Two {PER}"], "test": ["Three {PER}"]}
    return {
        "locales": ["en_US"],
        "names": dict.fromkeys(entities, names),
        "general": {split: list(texts) for split, texts in one.items()},
        "delivery": {split: list(texts) for split, texts in one.items()},
    }


@pytest.fixture
def read(tmp_path):
    def write_and_read(data):
        srsly.write_yaml(tmp_path / "aa.yml", data)
        return read_templates(tmp_path / "aa.yml")

    return write_and_read


def surfaces(sentences):
    return {
        (kind, "".join(sentence.tokens[start:end]).casefold())
        for sentence in sentences
        for start, end, kind in spans_from_tags(sentence.tags)
    }


def run_script(*args):
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_corpus.py"), *map(str, args)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
    )


def test_every_language_has_every_file(corpus):
    assert {path.stem for path in PATHS} == set(SCRIPTS)
    assert set(corpus) == {(lang, folder) for lang in SCRIPTS for folder in FOLDERS}


@pytest.mark.parametrize("lang", SCRIPTS)
def test_names_are_in_the_script_of_the_language(corpus, lang):
    allowed = {SCRIPTS[lang], *(["HIRAGANA", "KATAKANA"] if lang == "ja" else [])}
    found = defaultdict(int)
    for kind, text in surfaces(corpus[lang, "general/train"]):
        for char in text if kind in ("PER", "LOC") else "":
            if char.isalpha():
                found[unicodedata.name(char).split()[0]] += 1
    in_script = sum(n for script, n in found.items() if script in allowed)
    assert in_script > 0.98 * sum(found.values()), dict(found)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("lang", SCRIPTS)
def test_every_type_is_there_and_tags_are_legal(corpus, lang, style):
    for folder in FOLDERS:
        if not folder.startswith(style):
            continue
        types = set()
        for sentence in corpus[lang, folder]:
            before = "O"
            for prefix, kind in map(split_tag, sentence.tags):
                assert prefix != "I" or before == kind
                before = kind
                types |= {kind} - {""}
        partial = folder.endswith("partial")
        expected = set(STYLES[style]) - set(OLD_TYPES if partial else ())
        assert types == expected


def test_splits_share_no_surface(corpus):
    found = defaultdict(set)
    for (_, folder), sentences in corpus.items():
        found[folder.split("/")[1].split("-")[0]] |= surfaces(sentences)
    assert set(found) == set(SHARES)
    assert not found["train"] & found["dev"]
    assert not found["train"] & found["test"]
    assert not found["dev"] & found["test"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_splits_share_no_template(path):
    for splits in read_templates(path).styles.values():
        every = [template for texts in splits.values() for template in texts]
        assert len(every) == len(set(every))
        assert len(splits["train"]) >= 14
        assert min(len(splits["dev"]), len(splits["test"])) >= 5


@pytest.mark.parametrize("change", [str.upper, str.lower, str])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_template_aligns(path, change, nlp):
    drawer = Drawer(read_templates(path), seed="align")
    for style, split in ((style, split) for style in STYLES for split in SHARES):
        for template in drawer.templates.styles[style][split]:
            segments = drawer.segments(template, split)
            pairs = tag(nlp, [(change(text), kind) for text, kind in segments], "")
            n_entities = sum(kind != "" for _, kind in segments)
            assert sum(tag[0] == "B" for _, tag in pairs) == n_entities


def test_partial_is_full_without_the_old_types(corpus):
    for lang in SCRIPTS:
        full = corpus[lang, "delivery/train-full"]
        partial = corpus[lang, "delivery/train-partial"]
        assert [s.tokens for s in full] == [s.tokens for s in partial]
        reduced = [without_types(s.tags, OLD_TYPES) for s in full]
        assert reduced == [s.tags for s in partial]
        assert reduced != [s.tags for s in full]


def test_some_sentences_have_no_entity(corpus):
    for folder in FOLDERS:
        sentences = [s for lang in SCRIPTS for s in corpus[lang, folder]]
        n_empty = sum(set(s.tags) == {"O"} for s in sentences)
        assert 0.02 < n_empty / len(sentences) < 0.5


def test_another_seed_gives_another_corpus(nlp):
    templates = read_templates(PATHS[0])
    first, second = (make_files(templates, nlp, 20, seed) for seed in (0, 1))
    assert all(first[folder] != second[folder] for folder in FOLDERS)


def test_the_bytes_depend_on_nothing_but_the_seed(tmp_path, nlp):
    """Another process hashes texts in another way."""
    done = run_script(tmp_path, "--sentences", 12)
    assert done.returncode == 0, done.stderr
    for source in PATHS:
        made = make_files(read_templates(source), nlp, 12, seed=0)
        for folder, text in made.items():
            path = tmp_path / folder / f"{source.stem}.conll"
            assert path.read_bytes() == text.encode()
    assert {path.name for path in tmp_path.iterdir()} == set(STYLES)


def test_the_script_reports_a_mistake_without_a_traceback(tmp_path):
    foreign = tmp_path / "general" / "thesis.doc"
    foreign.parent.mkdir()
    foreign.write_text("years of work")
    done = run_script(tmp_path, "--sentences", 2)
    assert done.returncode == 1
    assert "thesis.doc" in done.stderr and "Traceback" not in done.stderr
    assert foreign.read_text() == "years of work"


@pytest.mark.parametrize("same", ["GROSS ZIMMERN", "großzimmern", "Groß-Zimmern"])
def test_case_and_spacing_do_not_move_a_name(same):
    assert split_of(same) == split_of("Groß Zimmern")


def test_names_fall_to_every_split():
    assert {split_of(str(n)) for n in range(50)} == set(SHARES)


def break_slot(data):
    data["general"]["train"].append("{WHO} left")


def break_brace(data):
    data["delivery"]["dev"].append("left {PER")


def break_type(data):
    data["general"]["test"].append("{PHONE}")


def break_split(data):
    del data["delivery"]["dev"]


def break_number(data):
    data["names"]["PHONE"] = [112]


def break_names(data):
    del data["names"]


def break_order(data):
    data["names"]["PER"] = ["{late}"]
    data["names"]["late"] = ["Ann"]


def break_twice(data):
    data["general"]["dev"] = data["general"]["train"]


def break_locale(data):
    data["locales"] = ["xx_XX"]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (break_slot, r"aa.yml: general: train: '\{WHO\} left', but \['WHO'\]"),
        (break_brace, r"delivery: dev: 'left \{PER', but a lone brace"),
        (break_type, r"general: test: '\{PHONE\}', but \['PHONE'\]"),
        (break_split, "aa.yml: delivery: dev, but it is None"),
        (break_number, r"names: PHONE, but it is \[112\].*quotes"),
        (break_names, "aa.yml: names, but it is None"),
        (break_order, r"names: PER: '\{late\}', but \['late'\]"),
        (break_twice, r"aa.yml: general, but One \{PER\} is given more than once"),
        (break_locale, "aa.yml: locales.*xx_XX"),
    ],
)
def test_a_wrong_file_is_refused(language, read, spoil, message):
    read(language)
    spoil(language)
    with pytest.raises(UserError, match=message):
        read(language)


def test_what_is_no_yaml_is_refused(tmp_path):
    path = tmp_path / "aa.yml"
    path.write_text("names: [", encoding="utf8")
    with pytest.raises(UserError, match="A YAML file was expected at .*aa.yml"):
        read_templates(path)


def test_a_slot_without_names_for_a_split_is_refused(language, read):
    language["names"]["PER"] = ["Ann"]
    drawer = Drawer(read(language), seed="0")
    empty = next(split for split in SHARES if split != split_of("Ann"))
    with pytest.raises(UserError, match=f"A name for {empty} was expected.*PER"):
        drawer.surface("PER", empty)


def test_more_sentences_than_there_are_is_refused(language, read):
    with pytest.raises(UserError, match="900 different sentences.*general: dev, but"):
        list(make_sentences(read(language), "general", "dev", 900, seed=0))


def test_a_template_that_does_not_align_is_refused(nlp):
    with pytest.raises(UserError, match="in aa.yml: here, but 'Ann' in 'Anns"):
        tag(nlp, [("Ann", "PER"), ("s hat", "")], "aa.yml: here")
