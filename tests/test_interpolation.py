import json
import os
import runpy
import sys
from pathlib import Path

import pytest
import spacy
import torch
from conftest import add_ner, make_checkpoint
from spacy.language import Language
from spacy.tokens import Doc, Span

from retainer import checkpoint as ck
from retainer.corpus import blank_pipeline, read_docs
from retainer.errors import UserError
from retainer.interpolation import (
    Weights,
    check_match,
    draw,
    get_module,
    interpolate,
    move,
    sweep,
    sweep_table,
    weights_of,
)
from retainer.pipelines import load_student, predict
from retainer.report import count, points

SCRIPT = Path(__file__).parents[1] / "scripts" / "interpolate.py"
OLD = "Anna\tB-PER\nwaits\tO\nin\tO\nLisbon\tB-LOC\n\nNorthway\tB-ORG\nFreight\tI-ORG\n"
NEW = "Northway\tB-COURIER\nFreight\tI-COURIER\nsent\tO\na\tO\nparcel\tO\n"
TEACHER_TAGS = ["O", "B-PER", "I-PER"]
STUDENT_TAGS = ["B-ZIP", "I-PER", "O", "B-PER"]  # of another order


def make_weights(tags: list[str], encoder: list, rows: list, bias: list) -> Weights:
    tensors = {
        "encoder.weight": torch.tensor(encoder),
        "encoder.steps": torch.tensor(len(tags)),
        "head.out.weight": torch.tensor(rows),
        "head.out.bias": torch.tensor(bias),
    }
    return Weights(tensors, "head.out", tags)


@pytest.fixture
def by_hand() -> tuple[Weights, Weights]:
    """A student and its teacher."""
    teacher = make_weights(
        TEACHER_TAGS,
        [4.0, -0.0, 8.0],
        [[2.0, -0.0], [4.0, 4.0], [6.0, 6.0]],
        [1.0, 2.0, -0.0],
    )
    student = make_weights(
        STUDENT_TAGS,
        [0.0, 0.1, -0.0],
        [[0.3, -0.0], [2.0, 2.0], [0.0, 1.0], [-0.0, 8.0]],
        [9.0, 1.0, 3.0, 0.0],
    )
    return student, teacher


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.numpy().tobytes()


@pytest.mark.parametrize(
    ("weight", "encoder", "rows", "bias"),
    [
        (
            0.5,
            [2.0, 0.05, 4.0],
            [[0.3, 0.0], [4.0, 4.0], [1.0, 0.5], [2.0, 6.0]],
            [9.0, 0.5, 2.0, 1.0],
        ),
        (
            0.25,
            [1.0, 0.075, 2.0],
            [[0.3, 0.0], [3.0, 3.0], [0.5, 0.75], [1.0, 7.0]],
            [9.0, 0.75, 2.5, 0.5],
        ),
    ],
)
def test_by_hand(by_hand, weight, encoder, rows, bias) -> None:
    mixed = interpolate(*by_hand, weight)
    assert torch.allclose(mixed["encoder.weight"], torch.tensor(encoder))
    assert torch.allclose(mixed["head.out.weight"], torch.tensor(rows))
    assert torch.allclose(mixed["head.out.bias"], torch.tensor(bias))
    assert mixed["encoder.steps"] == 4


def test_at_0_all_is_the_students_bit_for_bit(by_hand) -> None:
    student, teacher = by_hand
    mixed = interpolate(student, teacher, 0)
    assert list(mixed) == list(student.tensors)
    for name, tensor in student.tensors.items():
        assert bits(mixed[name]) == bits(tensor), name


def test_at_1_all_but_new_rows_is_the_teachers_bit_for_bit(by_hand) -> None:
    student, teacher = by_hand
    mixed = interpolate(student, teacher, 1.0)
    name = "encoder.weight"
    assert bits(mixed[name]) == bits(teacher.tensors[name])
    for name in ("head.out.weight", "head.out.bias"):
        old = mixed[name][[2, 3, 1]]  # O, B-PER, I-PER
        assert bits(old) == bits(teacher.tensors[name])
        assert bits(mixed[name][0]) == bits(student.tensors[name][0])


def test_both_stay_as_they_are(by_hand) -> None:
    before = [bits(x) for weights in by_hand for x in weights.tensors.values()]
    for weight in (0, 0.5, 1):
        interpolate(*by_hand, weight)
    assert before == [bits(x) for weights in by_hand for x in weights.tensors.values()]


def test_half_precision_is_mixed_in_float32(by_hand) -> None:
    student, teacher = by_hand
    teacher.tensors["encoder.weight"] = torch.tensor([1.0, 1.0, 1.0]).half()
    mixed = interpolate(student, teacher, 0.001)["encoder.weight"]
    assert mixed.dtype == torch.float32
    assert mixed[1] == pytest.approx(0.1009, abs=1e-7)


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan"), float("inf")])
def test_weight_that_is_no_share(by_hand, weight) -> None:
    with pytest.raises(UserError, match=f"to 1 .* expected, but it is {weight}"):
        interpolate(*by_hand, weight)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("encoder.weight", torch.ones(2), r"\(3,\) in the student and \(2,\) in the"),
        ("encoder.more", torch.ones(2), r"not there in the student and \(2,\) in"),
        ("head.out.weight", torch.ones(3, 5), r"\(2,\) in the student and \(5,\) in"),
    ],
)
def test_another_architecture(by_hand, name, tensor, message) -> None:
    student, teacher = by_hand
    teacher.tensors[name] = tensor
    with pytest.raises(UserError, match=f"1 weights: {name} is {message}"):
        check_match(student, teacher)


def test_weight_of_the_student_alone(by_hand) -> None:
    student, teacher = by_hand
    del teacher.tensors["head.out.bias"]
    with pytest.raises(UserError, match="in the student and not there in the teacher"):
        interpolate(student, teacher, 0.5)


def test_tag_that_the_student_lacks(by_hand) -> None:
    student, teacher = by_hand
    teacher.tags[2] = "I-PERSON"
    with pytest.raises(UserError, match="the student lacks I-PERSON"):
        interpolate(student, teacher, 0.5)


def disturb(module, scale: float) -> None:
    """Move all weights, as a training would."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += scale * noise


def test_each_family_has_its_teachers_logits_at_1(any_checkpoint: Path) -> None:
    teacher, _ = ck.load_checkpoint(str(any_checkpoint))
    student, _ = ck.load_checkpoint(str(any_checkpoint))
    tags = [*ck.tags_of(student.config), "B-ZIP", "I-ZIP"]
    ck.extend_head(student, tags, "mean")
    disturb(student, 0.1)
    new_rows = student.classifier.weight[7:].detach().clone()
    weights = weights_of(student)
    assert weights.head == "classifier"
    assert weights.tags == tags
    student.load_state_dict(interpolate(weights, weights_of(teacher), 1))
    ids = torch.arange(5, 35)[None]
    with torch.no_grad():
        expected, logits = teacher(ids).logits, student(ids).logits
    assert torch.allclose(logits[..., :7], expected, atol=1e-6)
    assert torch.equal(student.classifier.weight[7:], new_rows)


def make_student(checkpoint: Path) -> Language:
    """It has other weights than its teacher, and a type more, which it hardly sees."""
    nlp = blank_pipeline("xx")
    ner = add_ner(nlp, checkpoint, loss={"@misc": "retainer.CrossEntropy.v1"})
    nlp.initialize()
    ner.add_label("COURIER")
    disturb(get_module(nlp), 0.15)
    with torch.no_grad():
        get_module(nlp).classifier.bias[7:] = -100.0
    return nlp


@pytest.fixture(scope="module")
def teacher(checkpoint: Path) -> Language:
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint)
    nlp.initialize()
    return nlp


@pytest.fixture(scope="module")
def student(checkpoint: Path, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "model-best"
    make_student(checkpoint).to_disk(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, text in (("old/en", OLD), ("old/none", "waits\tO\n"), ("new", NEW)):
        path = folder / f"{name}.conll"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def test_pipeline_is_moved_in_place(checkpoint: Path, teacher: Language) -> None:
    nlp = make_student(checkpoint)
    own = {name: x.clone() for name, x in get_module(nlp).state_dict().items()}
    other = get_module(teacher).state_dict()
    move(nlp, teacher, 0.5)
    moved = get_module(nlp).state_dict()
    for name in other:
        expected = own[name].clone()
        expected[: len(other[name])] = (own[name][: len(other[name])] + other[name]) / 2
        assert torch.allclose(moved[name], expected, atol=1e-6), name
    assert not torch.equal(moved["classifier.weight"][:7], own["classifier.weight"][:7])
    assert torch.equal(moved["classifier.weight"][7:], own["classifier.weight"][7:])


def read_data(data: Path, nlp: Language) -> tuple[dict[str, list[Doc]], ...]:
    old = {n: list(read_docs(data / f"old/{n}.conll", nlp)) for n in ("en", "none")}
    return {"new": list(read_docs(data / "new.conll", nlp))}, old


def test_sweep_goes_from_the_student_to_the_teacher(
    teacher: Language, student: Path, data: Path
) -> None:
    nlp = load_student(str(student))
    new, old = read_data(data, nlp)
    before = {name: x.clone() for name, x in get_module(nlp).state_dict().items()}
    totals = []

    def track(docs, total):
        totals.append(total)
        return docs

    figures = sweep(teacher, nlp, new, old, [0, 0.5, 1], track)
    assert totals == [2, 1] + 3 * [2, 1, 1]
    first, _, last = figures["weights"]
    assert (figures["old_types"], figures["new_types"]) == (
        ["PER", "ORG", "LOC"],
        ["COURIER"],
    )

    def f1_of(pipeline: Language) -> dict[str, float | None]:
        return {
            name: points(
                count(predict(pipeline, refs, lambda docs, _: docs), refs),
                figures["old_types"],
            )
            for name, refs in old.items()
        }

    assert first["old_by_file"] == f1_of(nlp) != f1_of(teacher)
    assert last["old_by_file"] == f1_of(teacher) == figures["teacher"]["old_by_file"]
    assert last["old"] == figures["teacher"]["old"]
    assert (last["lost"], last["worst_lost"]) == (0.0, 0.0)
    after = get_module(nlp).state_dict()
    assert all(bits(after[name]) == bits(x) for name, x in before.items())


def test_sweep_stops_before_it_reads(teacher: Language, student: Path) -> None:
    nlp = load_student(str(student))
    with pytest.raises(UserError, match="but it is 2"):
        sweep(teacher, nlp, {}, {}, [0, 2])


def test_sweep_of_nothing(teacher: Language, student: Path) -> None:
    figures = sweep(teacher, load_student(str(student)), {}, {}, [0.5])
    assert figures["best"] is None
    assert sweep_table(figures).splitlines()[2:] == [
        "| teacher | - | - | - | - | - |",
        "| 0.5 | - | - | - | - | - |",
    ]
    assert draw(figures).startswith(b"\x89PNG")


def make_doc(n_words: int, n_ents: int, kind: str) -> Doc:
    """The first words are entities, each by itself."""
    doc = Doc(blank_pipeline("xx").vocab, words=["x"] * n_words)
    doc.set_ents([Span(doc, i, i + 1, kind) for i in range(n_ents)], default="outside")
    return doc


def test_sweep_counted_by_hand(monkeypatch, teacher: Language, student: Path) -> None:
    """One word of three that are there is F1 of 50."""
    old = {"a|b": [make_doc(3, 3, "PER")], "c": [make_doc(1, 1, "LOC")]}
    new = {"n": [make_doc(3, 3, "COURIER")]}
    answers = [
        *([make_doc(3, 3, "PER")], [make_doc(1, 1, "LOC")]),  # the teacher's
        *([make_doc(3, 1, "PER")], [make_doc(1, 1, "LOC")]),  # at 0
        [make_doc(3, 3, "COURIER")],
        *([make_doc(3, 3, "PER")], [make_doc(1, 1, "COURIER")]),  # at 0.5
        [make_doc(3, 1, "COURIER")],
    ]
    monkeypatch.setattr("retainer.interpolation.predict", lambda *_: answers.pop(0))
    figures = sweep(teacher, load_student(str(student)), new, old, [0, 0.5])
    first, second = figures["weights"]
    assert first == {
        "weight": 0,
        "new": 100.0,
        "new_by_file": {"n": 100.0},
        "new_types_found": 0,
        "old": 75.0,
        "lost": 25.0,
        "worst_file": "a|b",
        "worst_lost": 50.0,
        "harmonic_mean": 85.71,
        "old_by_file": {"a|b": 50.0, "c": 100.0},
        "lost_by_file": {"a|b": 50.0, "c": 0.0},
    }
    assert (second["new"], second["old"], second["new_types_found"]) == (50.0, 50.0, 1)
    assert figures["best"] == 0
    assert sweep_table(figures).splitlines() == [
        "| weight | new F1 | old F1 | lost | worst file | harmonic mean |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
        "| teacher | - | 100.0 | - | - | - |",
        "| 0 | 100.0 | 75.0 | 25.0 | a\\|b (50.0) | 85.71 |",
        "| 0.5 | 50.0 | 50.0 | 50.0 | c (100.0) | 50.0 |",
    ]
    assert draw(figures).startswith(b"\x89PNG")


@pytest.fixture
def run_script(monkeypatch, checkpoint: Path, student: Path):
    """The script in this process, with that teacher and student if not told others."""

    def run(*args: str | Path, **paths: Path) -> int | str | None:
        paths = {"teacher": checkpoint, "student": student, **paths}
        given = [part for key, path in paths.items() for part in (f"--{key}", path)]
        monkeypatch.setattr("sys.argv", [SCRIPT.name, *map(str, [*given, *args])])
        with pytest.raises(SystemExit) as exit_info:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return exit_info.value.code

    return run


def said(captured: str) -> str:
    return " ".join(captured.split())


def classifier_of(path: Path) -> torch.Tensor:
    return get_module(spacy.load(path)).state_dict()["classifier.weight"]


def test_script_writes_a_pipeline(
    run_script, tmp_path: Path, capsys, teacher: Language, student: Path
) -> None:
    output = tmp_path / "made" / "mixed"
    for weight in ("0", "1"):  # the second replaces the first
        assert run_script("--weight", weight, output=output) == 0
    assert f"1 of it the teacher's, to {output}" in said(capsys.readouterr().out)
    assert [path.name for path in output.parent.iterdir()] == ["mixed"]
    made = classifier_of(output)
    other = get_module(teacher).state_dict()["classifier.weight"]
    assert bits(made[:7]) == bits(other)
    assert bits(made[7:]) == bits(classifier_of(student)[7:])
    nlp = spacy.load(output)
    assert nlp.get_pipe("transformer_ner").labels == ("PER", "ORG", "LOC", "COURIER")
    text = "Anna Weber sent a parcel to Lisbon by Northway Freight ."
    found, expected = (
        [(e.text, e.label_) for e in pipe(text).ents] for pipe in (nlp, teacher)
    )
    assert found == expected != []


def test_scores_of_other_weights_are_not_kept(
    run_script, tmp_path: Path, checkpoint: Path
) -> None:
    nlp = make_student(checkpoint)
    nlp.meta["performance"] = {"ents_f": 0.9}
    nlp.to_disk(tmp_path / "scored")
    paths = {"student": tmp_path / "scored", "output": tmp_path / "mixed"}
    assert run_script("--weight", "0.25", **paths) == 0
    meta = json.loads((tmp_path / "mixed" / "meta.json").read_text())
    assert meta["performance"] == {}
    assert meta["interpolation"] == {"teacher": str(checkpoint), "weight": 0.25}


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("model-best", "share files"),
        ("model-best/transformer_ner/mixed", "share files"),
        (".", "share files"),
        ("link", "share files"),
        ("other", "A pipeline to replace, or nothing, was expected"),
        ("file", "A pipeline to replace, or nothing, was expected"),
        ("file/mixed", "A folder that can be written was expected"),
    ],
)
def test_script_keeps_what_is_there(
    run_script, tmp_path: Path, capsys, student: Path, output: str, message: str
) -> None:
    nlp = load_student(str(student))
    nlp.to_disk(tmp_path / "model-best")
    (tmp_path / "link").symlink_to(tmp_path / "model-best")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "meta.json").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    paths = {"student": tmp_path / "model-best", "output": tmp_path / output}
    assert run_script("--weight", "0.5", **paths) == 1
    assert message in said(capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


def test_script_keeps_the_teacher(run_script, student: Path, capsys) -> None:
    """The pipeline of an earlier round, whose checkpoint is the teacher of this."""
    earlier = student / "transformer_ner" / "checkpoint"
    other = {"teacher": earlier, "output": student}
    assert run_script("--weight", "0.5", **other) == 1
    assert "share files" in said(capsys.readouterr().err)


def test_script_leaves_no_half_a_folder(
    run_script, tmp_path: Path, capsys, monkeypatch
) -> None:
    output = tmp_path / "mixed"
    assert run_script("--weight", "0.5", output=output) == 0
    before = bits(classifier_of(output))

    def fail(nlp: Language, path: Path) -> None:
        (path / "transformer_ner").mkdir(parents=True)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Language, "to_disk", fail)
    assert run_script("--weight", "0.75", output=output) == 1
    assert "but it cannot: No space left on device." in said(capsys.readouterr().err)
    assert bits(classifier_of(output)) == before
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_script_measures(run_script, tmp_path: Path, data: Path, capsys) -> None:
    output = tmp_path / "metrics" / "sweep.1"
    args = ("--new", data / "new.conll", "--old", data / "old", "--output", output)
    weights = ("--sweep", "1", "--sweep", "0", "--sweep", "1", "--sweep", "0.5")
    assert run_script(*args, *weights) == 0
    names = sorted(path.name for path in output.parent.iterdir())
    assert names == ["sweep.1.json", "sweep.1.md", "sweep.1.png"]
    result = json.loads((output.parent / names[0]).read_text())
    assert [row["weight"] for row in result["sweep"]["weights"]] == [0, 0.5, 1]
    table = sweep_table(result["sweep"])
    assert table in capsys.readouterr().out
    assert (output.parent / names[1]).read_text().endswith(f".\n\n{table}\n")
    assert (output.parent / names[2]).read_bytes().startswith(b"\x89PNG")


def test_script_measures_tenths_and_needs_no_matplotlib(
    run_script, tmp_path: Path, data: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        monkeypatch.delitem(sys.modules, name)
    args = ("--new", data / "new.conll", "--old", data / "old")
    assert run_script(*args, output=tmp_path / "sweep") == 0
    assert "No picture, because matplotlib is missing" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "sweep.json",
        "sweep.md",
    ]
    result = json.loads((tmp_path / "sweep.json").read_text())
    weights = [row["weight"] for row in result["sweep"]["weights"]]
    assert weights == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]


FILES = "--new {0}/new.conll --old {0}/old"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("", "there is neither --weight nor --new and --old"),
        ("--sweep 0.5", "there is neither --weight nor --new and --old"),
        ("--new {0}/new.conll", "there is neither --weight nor --old"),
        ("--weight 0.5 " + FILES, "--weight came with --new, --old"),
        ("--weight 0 --sweep 0.5", "--weight came with --sweep"),
        ("--weight 1.5", "but it is 1.5"),
        ("--weight nan", "but it is nan"),
        (FILES + " --sweep 0.5 --sweep -1", "but it is -1.0"),
        ("--weight 0.5 --student {0}/none", "A trained pipeline was expected"),
        ("--weight 0.5 --teacher {0}/none", "A checkpoint folder or a hub id was"),
        ("--new {0}/none.conll --old {0}/old", "none.conll"),
        (FILES + " --student {0}/none", "A trained pipeline was expected"),
    ],
)
def test_mistakes(run_script, tmp_path, data, capsys, args, message) -> None:
    given = args.format(data).split()
    assert run_script("--output", tmp_path / "out", *given) == 1
    captured = capsys.readouterr()
    assert message in said(captured.err)
    assert not list(tmp_path.iterdir())


def test_sweep_needs_a_name(run_script, data: Path, capsys) -> None:
    assert run_script(*FILES.format(data).split(), output=Path(".")) == 1
    assert "A path that ends in a name was expected" in said(capsys.readouterr().err)


@pytest.mark.parametrize("args", ["--weight 0.5", FILES])
def test_teacher_of_another_architecture(
    run_script, tmp_path: Path, data: Path, capsys, args: str
) -> None:
    other = make_checkpoint("bert", tmp_path / "bert")
    output = tmp_path / "out"
    assert run_script(*args.format(data).split(), teacher=other, output=output) == 1
    message = (
        "embeddings.weight is not there in the student and (177, 32) in the teacher"
    )
    assert message in said(capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["bert"]


def test_student_that_knows_other_types(
    run_script, tmp_path: Path, checkpoint: Path, capsys
) -> None:
    nlp = blank_pipeline("xx")
    add_ner(nlp, checkpoint, loss={"@misc": "retainer.CrossEntropy.v1"})
    nlp.initialize()
    config = get_module(nlp).config
    config.id2label[1], config.label2id["B-PERSON"] = "B-PERSON", 1
    nlp.to_disk(tmp_path / "student")
    paths = {"student": tmp_path / "student", "output": tmp_path / "out"}
    assert run_script("--weight", "0.5", **paths) == 1
    assert "the student lacks B-PER" in said(capsys.readouterr().err)
