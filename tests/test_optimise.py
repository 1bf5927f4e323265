"""Faster or smaller pipelines say what the pipelines said that they were made from."""

import builtins
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from conftest import SENTENCES, add_ner, make_checkpoint
from spacy.language import Language
from spacy.training import Example

from retainer import comparison
from retainer.checkpoint import load_checkpoint
from retainer.comparison import Comparison, compare, demand, to_table
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.interpolation import get_module, weights_of
from retainer.optimise import Options, optimise
from retainer.smoothing import rounding_error, smooth
from retainer.stored import write_checksums
from retainer.trimming import kept_pieces, trim_tokenizer, used_pieces

SCRIPT = Path(__file__).parents[1] / "scripts" / "optimise.py"
LONG = " ".join(SENTENCES * 3)  # more pieces than a window has
TEXTS = [*SENTENCES, LONG, "", "  ", "\n", "Anna  Weber \x01", "Ω unknown ☃ characters"]
GOLD = "Anna\tB-PER\nWeber\tI-PER\nwaits\tO\nin\tO\nLisbon\tB-LOC\n"
EXACT, ROUNDED = 1e-4, 1.5  # logits: their standard deviation is about 6 here
Spans = list[tuple[str, str]]


def make_pipeline(checkpoint: Path, path: Path, **settings) -> Path:
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint, **settings)
    nlp.initialize()
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="module")
def pipeline(checkpoint: Path, tmp_path_factory) -> Path:
    return make_pipeline(checkpoint, tmp_path_factory.mktemp("made") / "pipeline")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(SENTENCES[:2]), "utf-8")
    return path


def rows(nlp: Language, texts=TEXTS) -> np.ndarray:
    model = nlp.get_pipe("transformer_ner").model
    return np.concatenate(model.predict([nlp.make_doc(text) for text in texts]))


def entities(nlp: Language, texts=TEXTS) -> list[Spans]:
    return [[(e.text, e.label_) for e in nlp(text).ents] for text in texts]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The most; tokens without pieces have the same rows."""
    assert np.array_equal(np.isinf(a), np.isinf(b))
    known = np.isfinite(a).all(axis=1)
    assert np.array_equal(a[~known], b[~known])
    return float(np.abs(a[known] - b[known]).max())


def make(path: Path, output: Path, **options) -> Language:
    """RETURNS: what was written, loaded."""
    nlp = spacy.load(path)
    optimise(nlp, Options(**options))
    nlp.to_disk(output)
    return spacy.load(output)


def need_onnx() -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("int8", [False, True])
def test_each_family_on_onnx_runtime(any_checkpoint, tmp_path, int8) -> None:
    """Shapes, padding and windows of long texts among them."""
    need_onnx()
    before = spacy.load(make_pipeline(any_checkpoint, tmp_path / "in"))
    after = make(tmp_path / "in", tmp_path / "out", onnx=True, int8=int8)
    wanted, got = rows(before), rows(after)
    assert apart(wanted, got) < (ROUNDED if int8 else EXACT)
    same = wanted.argmax(axis=1) == got.argmax(axis=1)
    assert same.mean() > (0.9 if int8 else 0.999)
    if not int8:
        assert entities(after) == entities(before)
    assert any(entities(before))


@pytest.mark.parametrize("int8", [False, True])
def test_rows_do_not_depend_on_the_batch(pipeline, tmp_path, int8) -> None:
    need_onnx()
    nlp = make(pipeline, tmp_path / "out", onnx=True, int8=int8)
    alone = np.concatenate([rows(nlp, [text]) for text in TEXTS])
    assert apart(rows(nlp), alone) <= (0 if int8 else EXACT)
    piped = [[(e.text, e.label_) for e in doc.ents] for doc in nlp.pipe(TEXTS)]
    assert piped == entities(nlp)


@pytest.mark.parametrize("options", [{"onnx": True}, {"int8": True}, {"trim": True}])
def test_loads_elsewhere_in_another_process(pipeline, texts, tmp_path, options) -> None:
    if "trim" in options:
        options = {"trim": (texts,)}
    else:
        need_onnx()
    nlp = make(pipeline, tmp_path / "out", **options)
    shutil.move(tmp_path / "out", tmp_path / "moved")
    code = (
        "import sys, spacy\n"
        "nlp = spacy.load(sys.argv[1])\n"
        "for text in sys.argv[2:]:\n"
        "    print([(e.text, e.label_) for e in nlp(text).ents])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "moved", *SENTENCES],
        capture_output=True,
        encoding="utf8",
        env={**os.environ, "PYTHONIOENCODING": "utf8"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [str(s) for s in entities(nlp, SENTENCES)]


def test_exported_reads_in_forked_processes(pipeline, tmp_path) -> None:
    """In a process of its own, since threads of others must not be forked."""
    need_onnx()
    make(pipeline, tmp_path / "out", onnx=True)
    code = (
        "import sys, spacy\n"
        "nlp = spacy.load(sys.argv[1])\n"
        "for n in (1, 2):\n"
        "    docs = nlp.pipe(sys.argv[2:], n_process=n, batch_size=2)\n"
        "    print([str(doc.ents) for doc in docs])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "out", *SENTENCES],
        capture_output=True,
        encoding="utf8",
        env={**os.environ, "OMP_NUM_THREADS": "2", "PYTHONIOENCODING": "utf8"},
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    first, second = run.stdout.splitlines()
    assert first == second != str(["()"] * len(SENTENCES))


def test_exported_round_trips(pipeline, tmp_path) -> None:
    """Bytes, disk again, what is written."""
    need_onnx()
    nlp = make(pipeline, tmp_path / "out", int8=True)
    expected = rows(nlp)
    again = spacy.util.load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    assert apart(rows(again), expected) == 0
    again.to_disk(tmp_path / "again")
    assert apart(rows(spacy.load(tmp_path / "again")), expected) == 0
    names = {file.name for file in (tmp_path / "out/transformer_ner").rglob("*.*")}
    assert "model.onnx" in names and "model.safetensors" not in names
    assert {Path(name).suffix for name in names} <= {".json", ".onnx"}
    meta, before = (spacy.load(p).meta for p in (tmp_path / "again", pipeline))
    assert meta["requirements"] == ["onnxruntime>=1.20"]
    assert "requirements" not in before


@pytest.mark.parametrize("rough, n_quantised", [(9.0, 3 * 6), (0.0, 0)])
def test_int8_is_smaller(pipeline, tmp_path, monkeypatch, rough, n_quantised) -> None:
    """The head is never quantised, nor is a layer that would lose too much."""
    need_onnx()
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr("retainer.smoothing.ROUGH", rough)
    make(pipeline, tmp_path / "float", onnx=True)
    make(pipeline, tmp_path / "int8", int8=True)
    place = "transformer_ner/checkpoint/model.onnx"
    graphs = [onnx.load(tmp_path / name / place) for name in ("float", "int8")]
    is_smaller = graphs[1].ByteSize() < graphs[0].ByteSize()
    assert is_smaller or not n_quantised
    kinds = [node.op_type for node in graphs[1].graph.node]
    assert kinds.count("MatMulInteger") == n_quantised


def test_smoothing_is_the_same_function(any_checkpoint) -> None:
    module, _ = load_checkpoint(str(any_checkpoint))
    with torch.no_grad():  # one column as large as real networks have them
        module.base_model.get_input_embeddings().weight[:, 3] *= 50
    ids = torch.arange(40).reshape(2, 20) + 5
    before, size = module(input_ids=ids).logits, len(list(module.parameters()))
    kept = smooth(module)
    assert "classifier" in kept
    torch.testing.assert_close(module(input_ids=ids).logits, before, atol=1e-4, rtol=0)
    assert len(list(module.parameters())) == size


def test_smoothing_rounds_less() -> None:
    draw = torch.Generator().manual_seed(0)
    x, w = (torch.randn(50, 16, generator=draw) for _ in range(2))
    x[:, 5] *= 100
    scale = x.abs().amax(dim=0) ** 0.7
    assert rounding_error(x / scale, w * scale) < rounding_error(x, w) / 3
    even = torch.tensor([[0.0, 255.0], [3.0, 7.0]])  # steps of one: nothing moves
    assert rounding_error(even, torch.eye(2)) == 0.0


@pytest.mark.parametrize("int8", [False, True])
def test_exported_cannot_be_trained(pipeline, tmp_path, int8) -> None:
    need_onnx()
    nlp = make(pipeline, tmp_path / "out", onnx=True, int8=int8)
    eg = Example.from_dict(nlp.make_doc("Anna left"), {"entities": [(0, 4, "PER")]})
    for change in (
        lambda: nlp.update([eg], sgd=nlp.resume_training()),
        lambda: nlp.get_pipe("transformer_ner").add_label("PHONE"),
        lambda: optimise(nlp, Options(int8=True)),
        lambda: weights_of(get_module(nlp)),
        lambda: nlp.get_pipe("transformer_ner").model.attrs["predict_features"](
            nlp.get_pipe("transformer_ner").model, [nlp.make_doc("Anna left")]
        ),
    ):
        with pytest.raises(UserError, match="made by scripts/optimise.py"):
            change()
    assert nlp("Anna left").text == "Anna left"  # it goes on reading
    folder = str(tmp_path / "out/transformer_ner/checkpoint")
    with pytest.raises(UserError, match="it holds model.onnx"):
        load_checkpoint(folder)


def test_onnx_backend_needs_its_file(checkpoint) -> None:
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint, backend="onnxruntime")
    with pytest.raises(UserError, match=r"model\.onnx was expected"):
        nlp.initialize()


def test_broken_onnx_file(pipeline, tmp_path) -> None:
    need_onnx()
    make(pipeline, tmp_path / "out", onnx=True)
    folder = tmp_path / "out/transformer_ner/checkpoint"
    (folder / "model.onnx").write_bytes(b"half a file")
    with pytest.raises(UserError, match="model.onnx' was expected as it was saved"):
        spacy.load(tmp_path / "out")
    write_checksums(folder)
    with pytest.raises(UserError, match="ONNX Runtime reads, but it does not"):
        spacy.load(tmp_path / "out")


@pytest.fixture
def without_packages(monkeypatch) -> None:
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] in ("onnx", "onnxruntime"):
            raise ImportError(name=name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_export_without_the_packages(pipeline, tmp_path, without_packages) -> None:
    with pytest.raises(UserError, match="pip install onnx onnxruntime"):
        make(pipeline, tmp_path / "out", onnx=True)


def test_loading_without_the_package(checkpoint, tmp_path, without_packages) -> None:
    shutil.copytree(checkpoint, tmp_path / "base")
    (tmp_path / "base" / "model.onnx").touch()
    nlp = blank_pipeline("xx")
    add_ner(nlp, tmp_path / "base", backend="onnxruntime")
    with pytest.raises(UserError, match="pip install onnxruntime"):
        nlp.initialize()


def test_checkpoint_that_torch_cannot_export(pipeline, tmp_path, monkeypatch) -> None:
    need_onnx()

    def fail(*args, **kwargs):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(UserError, match="Classification: no such operator. Leave out"):
        make(pipeline, tmp_path / "out", onnx=True)


def test_an_export_that_is_another_function(pipeline, tmp_path, monkeypatch) -> None:
    need_onnx()
    monkeypatch.setattr("retainer.exporting.TOLERANCE", -1.0)
    with pytest.raises(UserError, match="The same logits were expected"):
        make(pipeline, tmp_path / "out", onnx=True)


def test_file_that_no_protobuf_holds(pipeline, tmp_path, monkeypatch) -> None:
    need_onnx()
    monkeypatch.setattr("retainer.exporting.LARGEST", 100)
    with pytest.raises(UserError, match="Add --int8, or --trim"):
        make(pipeline, tmp_path / "out", onnx=True)


def test_pipeline_of_before_there_was_a_backend(pipeline, tmp_path) -> None:
    shutil.copytree(pipeline, tmp_path / "old")
    config = tmp_path / "old/config.cfg"
    text = config.read_text()
    assert 'backend = "torch"\n' in text
    config.write_text(text.replace('backend = "torch"\n', ""))
    assert entities(spacy.load(tmp_path / "old")) == entities(spacy.load(pipeline))


def pieces_of(tokenizer, docs: list[list[str]]) -> list[list[str]]:
    encoded = tokenizer.backend_tokenizer.encode_batch(docs, is_pretokenized=True)
    return [encoding.tokens for encoding in encoded]


@pytest.mark.parametrize("family", ["xlm-roberta", "bert", "distilbert"])
def test_trimmed_tokenizer(family, tmp_path) -> None:
    _, tokenizer = load_checkpoint(str(make_checkpoint(family, tmp_path / "base")))
    seen = [text.split() for text in [SENTENCES[0], "Ω sent ☃"]]
    kept = kept_pieces(tokenizer, used_pieces(tokenizer, seen))
    trimmed = trim_tokenizer(tokenizer, kept)
    assert len(trimmed) == len(kept) < len(tokenizer)
    assert trimmed.all_special_tokens == tokenizer.all_special_tokens
    assert trimmed.mask_token_id == list(kept).index(tokenizer.mask_token_id)
    trimmed.save_pretrained(tmp_path / "trimmed")
    shutil.copy(tmp_path / "base/config.json", tmp_path / "trimmed")
    again = type(tokenizer).from_pretrained(tmp_path / "trimmed")
    for made in (trimmed, again):
        assert pieces_of(made, seen) == pieces_of(tokenizer, seen)
        all_docs = [text.split() for text in SENTENCES]
        backends = [t.backend_tokenizer for t in (tokenizer, made)]
        encoded = [b.encode_batch(all_docs, is_pretokenized=True) for b in backends]
        for old, new in zip(*encoded, strict=True):
            assert made.convert_ids_to_tokens(new.ids) == new.tokens
            unknown = tokenizer.unk_token
            # characters have all stayed, so no further word is unknown
            assert new.tokens.count(unknown) == old.tokens.count(unknown)
            assert len(new.ids) > len(old.ids) or new.tokens == old.tokens


@pytest.mark.parametrize("family", ["xlm-roberta", "bert"])
def test_trimmed_pipeline_says_the_same_and_learns(family, texts, tmp_path) -> None:
    base = make_checkpoint(family, tmp_path / "base")
    before = spacy.load(make_pipeline(base, tmp_path / "in", freeze=["embeddings"]))
    after = make(tmp_path / "in", tmp_path / "out", trim=(texts,))
    assert apart(rows(before, SENTENCES[:2]), rows(after, SENTENCES[:2])) < 1e-5
    assert entities(after, SENTENCES[:2]) == entities(before, SENTENCES[:2])
    assert any(entities(after, SENTENCES[:2]))
    n_rows = [m.config.vocab_size for m in (get_module(before), get_module(after))]
    assert n_rows[1] < n_rows[0]
    embeddings = get_module(after).get_input_embeddings()
    assert embeddings.weight.shape[0] == n_rows[1]
    assert not embeddings.weight.requires_grad  # still frozen
    assert "Freight" not in spacy.load(tmp_path / "out").vocab.strings  # of the texts
    assert get_module(after)(torch.tensor([[n_rows[1] - 1]])).logits.isfinite().all()
    annotated = {"entities": [(0, 4, "PER")]}
    eg = Example.from_dict(after.make_doc("Anna left"), annotated)
    optimizer = after.resume_training()
    losses = [after.update([eg], sgd=optimizer) for _ in range(3)]
    assert losses[-1]["transformer_ner"] < losses[0]["transformer_ner"]


def test_trimmed_and_exported(pipeline, texts, tmp_path) -> None:
    need_onnx()
    nlp = make(pipeline, tmp_path / "out", onnx=True, trim=(texts,))
    wanted, got = (rows(x, SENTENCES[:2]) for x in (spacy.load(pipeline), nlp))
    assert apart(wanted, got) < EXACT


def test_tokenizer_that_cannot_be_trimmed(texts, tmp_path) -> None:
    base = make_checkpoint("roberta", tmp_path / "base")
    make_pipeline(base, tmp_path / "in")
    with pytest.raises(UserError, match="but it is BPE"):
        make(tmp_path / "in", tmp_path / "out", trim=(texts,))


def test_trim_by_blank_texts(pipeline, tmp_path) -> None:
    (tmp_path / "blank.txt").write_text("\n  \n")
    with pytest.raises(UserError, match="but all are blank"):
        make(pipeline, tmp_path / "out", trim=(tmp_path / "blank.txt",))


def test_comparison(pipeline, tmp_path, texts, monkeypatch) -> None:
    """With itself nothing differs; without its types all is lost."""
    gold = tmp_path / "gold.conll"
    gold.write_text(GOLD)
    first, second = spacy.load(pipeline), spacy.load(pipeline)
    found = compare(first, second, [gold], lambda docs, total: docs)
    assert found.same == 1.0 and found.lost == 0.0
    assert found.worst[0] == "gold" and found.megabytes[0] == found.megabytes[1] > 0
    assert min(*found.piped, *found.single) > 0
    second.get_pipe("transformer_ner").set_annotations = lambda docs, scores: None
    found = compare(first, second, [gold], lambda docs, total: docs)
    assert found.same == 0.0 and found.f1[1] == 0.0


def test_table_and_limit() -> None:
    found = Comparison(
        (80.0, 79.25), ("pt", (70.0, 60.5)), 0.975, (200.0, 50.0), (100, 150), (10, 40)
    )
    assert to_table(found).rows == [
        ["F1, points", "80.00", "79.25", "-0.75"],
        ["F1 of the worst file, pt", "70.00", "60.50", "-9.50"],
        ["same entities", None, None, "97.50%"],
        ["size, MB", "200.0", "50.0", "x 0.25"],
        ["words a second, many texts", "100", "150", "x 1.50"],
        ["words a second, text by text", "10", "40", "x 4.00"],
    ]
    demand(found, 0.75)
    with pytest.raises(UserError, match="0.75 were, so nothing was written"):
        demand(found, 0.7)
    found.f1 = (None, None)
    assert to_table(found).rows[0] == ["F1, points", "-", "-", "-"]
    with pytest.raises(UserError, match="there are none to measure"):
        demand(found, 0.7)


@pytest.fixture
def run_script(monkeypatch):
    def run(*args: str | Path) -> int | str | None:
        monkeypatch.setattr("sys.argv", ["optimise.py", *map(str, args)])
        with pytest.raises(SystemExit) as exit_info:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return exit_info.value.code

    return run


def test_script(run_script, pipeline, texts, tmp_path, capsys) -> None:
    gold, output = tmp_path / "gold.conll", tmp_path / "out"
    gold.write_text(GOLD)
    before = {f: f.read_bytes() for f in pipeline.rglob("*") if f.is_file()}
    args = (pipeline, output, "--trim", texts, "--check", gold, "--max-loss", 100)
    assert run_script(*args) == 0
    said = capsys.readouterr()
    assert "| F1, points |" in said.out and "pieces are kept" in said.err
    assert before == {f: f.read_bytes() for f in pipeline.rglob("*") if f.is_file()}
    assert get_module(spacy.load(output)).config.vocab_size < 200
    assert run_script(*args) == 0  # it is replaced


def test_script_that_loses_too_much(
    run_script, pipeline, texts, tmp_path, capsys, monkeypatch
) -> None:
    gold, output = tmp_path / "gold.conll", tmp_path / "out"
    gold.write_text(GOLD)
    monkeypatch.setattr(comparison, "difference", lambda before, after: -1.0)
    args = ("--trim", texts, "--check", gold, "--max-loss", 0.5)
    assert run_script(pipeline, output, *args) == 1
    assert "1.00 were, so nothing was" in " ".join(capsys.readouterr().err.split())
    assert {path.name for path in tmp_path.iterdir()} == {"gold.conll", "texts.txt"}


@pytest.mark.parametrize(
    "args, message",
    [
        ([], "At least one of --onnx, --int8 and --trim"),
        (["--onnx", "--max-loss", "1"], "--max-loss without --check"),
        (["--onnx", "--check", "{gold}", "--max-loss", "nan"], "A finite number"),
        (["--onnx", "--check", "none"], "at 'none'"),
        (["--trim", "none"], "at 'none'"),
    ],
)
def test_mistakes(run_script, pipeline, tmp_path, capsys, args, message) -> None:
    (tmp_path / "gold.conll").write_text(GOLD)
    args = [arg.format(gold=tmp_path / "gold.conll") for arg in args]
    assert run_script(pipeline, tmp_path / "out", *args) == 1
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["gold.conll"]


def test_output_is_not_the_input(run_script, pipeline, capsys) -> None:
    assert run_script(pipeline, pipeline, "--onnx") == 1
    assert "share files" in " ".join(capsys.readouterr().err.split())
