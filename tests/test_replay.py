import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from spacy import registry
from spacy.tokens import Doc, DocBin

from retainer import replay as module
from retainer.errors import UserError
from retainer.replay import LONGEST, MOST_CHARACTERS, Replay, configure_replay

TEXTS = ["Anna sent it", "nobody is in Kazan", "wer wartet in Bremen ?"]


def texts_of(docs: Sequence[Doc]) -> list[str]:
    return sorted(doc.text for doc in docs)


def write(path: Path, texts: Sequence[str]) -> Path:
    """A .txt file with a line for each of them."""
    path.write_text("\n".join(texts), "utf-8")
    return path


def read(nlp, path: Path, **settings) -> Replay:
    settings = {
        "column": "text",
        "ratio": 1.0,
        "n_texts": 1000,
        "held_out": 0,
        **settings,
    }
    replay = configure_replay(path, **settings)
    replay.read(nlp)
    return replay


def write_file(folder: Path, name: str, nlp) -> Path:
    """TEXTS in the format that the suffix tells."""
    path = folder / name
    if path.suffix == ".spacy":
        DocBin(docs=list(map(nlp.make_doc, TEXTS)), store_user_data=True).to_disk(path)
        return path
    content = {
        ".txt": "\n\n".join(TEXTS),
        ".jsonl": "\n".join(json.dumps({"text": 1, "body": t}) for t in TEXTS),
        ".csv": "id,body\n" + "".join(f'7,"{text}"\n' for text in TEXTS),
        ".tsv": "body\tid\n" + "".join(f"{text}\t7\n" for text in TEXTS),
        ".conll": "\n\n".join(
            "\n".join(f"{word} O" for word in text.split()) for text in TEXTS
        ),
    }
    path.write_text(content[path.suffix] + "\n", "utf-8")
    return path


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "csv", "tsv", "spacy", "conll"])
def test_formats(nlp_blank, tmp_path, suffix):
    path = write_file(tmp_path, f"a.{suffix}", nlp_blank)
    replay = read(nlp_blank, path, column="body")
    # a CoNLL file does not tell where there are spaces: not before punctuation
    expected = [t.replace(" ?", "?") if suffix == "conll" else t for t in TEXTS]
    assert texts_of(replay.docs) == sorted(expected)
    assert replay.held_out_docs == []
    tokens = {tuple(token.text for token in doc) for doc in replay.docs}
    assert tokens == {tuple(text.split()) for text in TEXTS}
    assert not any(doc.ents for doc in replay.docs)


def test_folder_of_texts(nlp_blank, tmp_path):
    """What is annotated is passed by: it is the corpus, as a rule."""
    write(tmp_path / "a.txt", ["one"])
    write(tmp_path / "b.conll", ["two O"])
    write(tmp_path / "c.jsonl", ['{"text": "three"}'])
    write(tmp_path / "d.md", ["four"])
    write(tmp_path / "e.csv", ["id,text", "7,five"])
    (tmp_path / "more").mkdir()
    write(tmp_path / "more" / "f.txt", ["six"])
    assert texts_of(read(nlp_blank, tmp_path).docs) == ["five", "one", "three"]


def test_folder_without_files_of_texts(nlp_blank, tmp_path):
    write(tmp_path / "b.conll", ["two O"])
    write(tmp_path / "d.md", ["four"])
    assert texts_of(read(nlp_blank, tmp_path).docs) == ["two"]


def test_annotation_is_not_looked_at(nlp_blank, tmp_path):
    path = write(tmp_path / "a.conll", ["Anna B-PER", "left O"])
    (doc,) = read(nlp_blank, path).docs
    assert doc.text == "Anna left"
    assert not doc.has_annotation("ENT_IOB")


def test_blank_texts_are_left_out(nlp_blank, tmp_path):
    records = ["", "  ", "\n\t", "one", "\u3000"]
    path = write(tmp_path / "a.jsonl", [json.dumps({"text": t}) for t in records])
    assert texts_of(read(nlp_blank, path, n_texts=2).docs) == ["one"]


def test_sample_does_not_depend_on_the_seed(nlp_blank, tmp_path):
    path = write(tmp_path / "a.txt", [f"text {i}" for i in range(50)])
    drawn = []
    for seed in (0, 1):
        random.seed(seed)
        replay = read(nlp_blank, path, n_texts=20, held_out=5)
        drawn.append([[doc.text for doc in replay.docs], replay.held_out_docs[0].text])
        assert random.random() == random.Random(seed).random()
    assert drawn[0] == drawn[1]


def test_held_out_texts_are_not_taught(nlp_blank, tmp_path):
    texts = [f"text {i}" for i in range(50)]
    path = write(tmp_path / "a.txt", texts)
    replay = read(nlp_blank, path, n_texts=20, held_out=5)
    taught, held_out = texts_of(replay.docs), texts_of(replay.held_out_docs)
    assert (len(taught), len(held_out)) == (15, 5)
    assert len({*taught, *held_out} & set(texts)) == 20
    for _ in range(10):
        assert set(texts_of(replay.draw(10))) <= set(taught)


def test_fewer_texts_than_are_kept(nlp_blank, tmp_path):
    path = write(tmp_path / "a.txt", TEXTS)
    replay = read(nlp_blank, path, n_texts=1000, held_out=1)
    assert texts_of([*replay.docs, *replay.held_out_docs]) == sorted(TEXTS)
    assert len(replay.docs) == 2


def test_sample_is_uniform(monkeypatch):
    """Each of 10 is among 4 kept as often, and as often the first of these."""
    kept, first = Counter(), Counter()
    for seed in range(3000):
        monkeypatch.setattr(module, "SEED", seed)
        sample = module._sample(iter("abcdefghij"), 4)
        assert len(set(sample)) == 4
        kept.update(sample)
        first[sample[0]] += 1
    # five standard deviations: 5 * sqrt(3000 * 0.4 * 0.6) and 5 * sqrt(3000 * 0.09)
    assert all(abs(kept[text] - 1200) < 134 for text in "abcdefghij")
    assert all(abs(first[text] - 300) < 82 for text in "abcdefghij")


@pytest.mark.parametrize(
    ("n_words", "lengths"),
    [
        (LONGEST, [LONGEST]),
        (LONGEST + 1, [LONGEST, 1]),
        (2 * LONGEST, [LONGEST] * 2),
        (2 * LONGEST + 50, [LONGEST, LONGEST, 50]),
    ],
)
def test_long_texts_are_cut(nlp_blank, tmp_path, n_words, lengths):
    text = " ".join(f"w{i}" for i in range(n_words))
    for held_out, name in ((0, "docs"), (1, "held_out_docs")):
        path = write(tmp_path / "a.txt", [text] * (2 * held_out + 1))
        docs = getattr(read(nlp_blank, path, held_out=held_out), name)
        assert list(map(len, docs)) == lengths
        assert [token.text for doc in docs for token in doc] == text.split()
        assert "".join(doc.text_with_ws for doc in docs) == text


@pytest.mark.parametrize("most", [4, 10, 1000])
def test_not_too_much_is_tokenised_at_once(nlp_blank, tmp_path, monkeypatch, most):
    """A word may be cut, but no character is lost."""
    monkeypatch.setattr(module, "MOST_CHARACTERS", most)
    text = "one two three, four five six seven"
    make_doc, lengths = nlp_blank.make_doc, []

    def count(text):
        lengths.append(len(text))
        return make_doc(text)

    monkeypatch.setattr(nlp_blank, "make_doc", count)
    replay = read(nlp_blank, write(tmp_path / "a.txt", [text]))
    assert "".join(doc.text_with_ws for doc in replay.docs) == text
    assert max(lengths) <= most
    assert sum(lengths) == len(text)


def test_cutting_by_characters_goes_before_cutting_by_tokens(nlp_blank, tmp_path):
    text = "w " * MOST_CHARACTERS
    docs = read(nlp_blank, write(tmp_path / "a.txt", [text.strip()])).docs
    assert set(map(len, docs)) == {LONGEST}
    assert len(docs) == MOST_CHARACTERS / LONGEST


@pytest.mark.parametrize("ratio", [0.1, 1.0, 2.5])
def test_ratio_holds_over_many_calls(nlp_blank, tmp_path, ratio):
    """To within one doc, of 9 tokens at most."""
    texts = [" ".join(["w"] * (i % 9 + 1)) for i in range(40)]
    replay = read(nlp_blank, write(tmp_path / "a.txt", texts), ratio=ratio)
    n_asked = n_drawn = 0
    for n_tokens in [1, 0, 30, 7, 7, 2, 100] * 20:
        n_asked += n_tokens
        n_drawn += sum(map(len, replay.draw(n_tokens)))
        assert 0 <= n_drawn - ratio * n_asked < 9
    assert n_asked == 147 * 20


def test_no_tokens_draw_nothing(nlp_blank, tmp_path):
    replay = read(nlp_blank, write(tmp_path / "a.txt", TEXTS))
    assert replay.draw(0) == []


def test_each_doc_is_drawn_once_before_any_is_drawn_again(nlp_blank, tmp_path):
    texts = [f"w{i}" for i in range(7)]
    replay = read(nlp_blank, write(tmp_path / "a.txt", texts))
    drawn = [doc.text for n in (3, 3, 3, 20, 6) for doc in replay.draw(n)]
    rounds = [drawn[start : start + 7] for start in range(0, len(drawn), 7)]
    assert [sorted(r) for r in rounds] == [texts] * 5
    assert len(set(map(tuple, rounds))) > 1


def test_draws_are_seeded(nlp_blank, tmp_path):
    path = write(tmp_path / "a.txt", [f"w{i}" for i in range(30)])
    orders = []
    for seed in (0, 0, 1):
        replay = read(nlp_blank, path)
        random.seed(seed)
        orders.append([doc.text for _ in range(9) for doc in replay.draw(5)])
    assert orders[0] == orders[1] != orders[2]


def test_reading_again_starts_anew(nlp_blank, tmp_path):
    replay = read(nlp_blank, write(tmp_path / "a.txt", ["w"] * 10))
    replay.draw(3)
    before = replay.docs
    replay.read(nlp_blank)
    assert texts_of(replay.docs) == texts_of(before)
    assert all(any(doc is new for new in replay.docs) for doc in replay.draw(10))


@pytest.mark.parametrize(
    ("n_texts", "n_held_out"), [(1, 0), (2, 0), (3, 1), (29, 9), (30, 10), (99, 10)]
)
def test_of_few_texts_a_third_is_held_out(nlp_blank, tmp_path, n_texts, n_held_out):
    path = write(tmp_path / "a.txt", [f"text {i}" for i in range(n_texts)])
    replay = read(nlp_blank, path, held_out=10)
    assert len(replay.held_out_docs) == n_held_out
    assert len(replay.docs) == n_texts - n_held_out


@pytest.mark.parametrize("content", ["", " \n\n "])
def test_no_text(nlp_blank, tmp_path, content):
    (tmp_path / "a.txt").write_text(content, "utf-8")
    with pytest.raises(UserError, match=r"Texts .* in '.*a\.txt', but there are none"):
        read(nlp_blank, tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("ratio", 0.0),
        ("ratio", -1.0),
        ("ratio", float("nan")),
        ("n_texts", 0),
        ("n_texts", 3),
        ("held_out", -1),
        ("held_out", 10),
    ],
)
def test_settings_out_of_range(tmp_path, setting, value):
    settings = {"ratio": 1.0, "n_texts": 10, "held_out": 3, setting: value}
    with pytest.raises(UserError, match=rf"has .*\b{setting} = {value}\b"):
        configure_replay(tmp_path / "a.txt", "text", **settings)


def test_nothing_there(nlp_blank, tmp_path):
    with pytest.raises(UserError, match=r"expected at '.*none\.txt', but nothing is"):
        read(nlp_blank, tmp_path / "none.txt")


def test_column_that_is_not_there(nlp_blank, tmp_path):
    path = write(tmp_path / "a.jsonl", ['{"body": "Anna"}'])
    with pytest.raises(UserError, match="A column 'text' with the text.* has .*'body'"):
        read(nlp_blank, path)


def test_without_a_path_there_is_no_replay():
    assert configure_replay(None, "text", 1.0, 10, 0) is None


def test_it_is_registered():
    assert registry.misc.get("retainer.Replay.v1") is configure_replay
