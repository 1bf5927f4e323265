"""Figures by hand, processes in turns, and each subject on tiny checkpoints.

Workers run in this process, and those whose packages are not here do not run.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_sentence
from test_mistakes import run_script

from retainer.benchmark import environment, workers
from retainer.benchmark.conversion import OURS, THEIRS, conversion_tables, write_corpus
from retainer.benchmark.figures import (
    Spread,
    agreement,
    f1,
    of_types,
    percentile,
    ratios,
    trimmed,
)
from retainer.benchmark.outputs import write_outputs
from retainer.benchmark.processes import Bench, Contender, Measured, Run
from retainer.benchmark.samples import (
    find_short,
    make_sample,
    n_words_of,
    read_samples,
)
from retainer.benchmark.training import Lesson
from retainer.benchmark.workers import ANY_TOKENIZER, make_loadable
from retainer.errors import UserError
from retainer.labels import spans_from_tags
from retainer.losses import interpolate

PEERS = Path(__file__).parents[1] / "scripts" / "peers"
CONLL = """\
Anna\tB-PER
Weber\tI-PER
sent\tO
a\tO
parcel\tO

Northway\tB-COURIER
Freight\tI-COURIER
waits\tO
in\tO
Lisbon\tB-LOC
.\tO
"""
ANN, ROME = (0, 3, "PER"), (5, 9, "LOC")
TELL = "import json, sys; json.dump({'seconds': 1}, open(sys.argv[2], 'w'))"


def python(name: str, code: str, **settings) -> Contender:
    return Contender(name, [sys.executable, "-c", code], {}, **settings)


@pytest.fixture
def conll(tmp_path) -> Path:
    path = tmp_path / "data.conll"
    path.write_text(CONLL)
    return path


@pytest.mark.parametrize(
    ("values", "digits", "shown"),
    [
        ([3.0, 1.0, 2.0], 0, "2 (1 to 3)"),
        ([1.25, 2.0], 2, "1.62 (1.25 to 2.00)"),
        ([1234.4, 1234.3], 0, "1,234"),
    ],
)
def test_spread(values, digits, shown):
    assert Spread.of(values).show(digits) == shown


def test_ratios_are_of_one_round_each():
    """The ratio of the medians would be 4 / 2 = 2 too, but of the sums 11 / 7."""
    assert ratios([1.0, 2.0, 4.0], [3.0, 4.0, 4.0]) == Spread(2.0, 1.0, 3.0)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        (range(1, 201), 0.99, 198),
        (range(1, 101), 0.99, 99),
        ([5.0], 0.99, 5.0),
        ([3, 1, 2], 0.5, 2),
        ([3, 1, 2], 0.0, 1),
    ],
)
def test_percentile(values, share, expected):
    assert percentile(list(values), share) == expected


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ([[ANN, ROME]], [[ANN, (5, 9, "ORG")]], 50.0),
        ([[ANN], [ROME]], [[ANN], []], 100 * 2 / 3),
        ([[ANN], [ROME]], [[ROME], [ANN]], 0.0),
        ([[ANN]], [[(0, 2, "PER")]], 0.0),
        ([[ANN]], [[ANN, ANN]], 100.0),
        ([[]], [[]], None),
    ],
)
def test_f1(gold, predicted, expected):
    assert f1(gold, predicted) == pytest.approx(expected)


def test_agreement_is_of_whole_texts():
    ours = [[ANN, ROME], [], [ANN]]
    theirs = [[ROME, ANN], [], [ANN, ROME]]
    assert agreement(ours, theirs) == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((2, 8, "LOC"), [(3, 7, "LOC")]),
        ((3, 7, "LOC"), [(3, 7, "LOC")]),
        ((2, 3, "LOC"), []),
    ],
)
def test_trimmed(span, expected):
    assert trimmed("in Rome ", [span]) == expected


def test_of_types():
    assert of_types([ANN, ROME], {"LOC"}) == [ROME]


def test_a_sample_has_spaces_where_its_script_has():
    sample = make_sample(make_sentence("Ann/B-PER|在/O|北/B-LOC|京/I-LOC|a/O|b/O"))
    assert sample.text == "Ann在北京a b"
    assert sample.words == [(0, 3), (3, 4), (4, 5), (5, 6), (6, 7), (8, 9)]
    assert sample.spans == [(0, 3, "PER"), (4, 6, "LOC")]


def test_samples_are_always_the_same_and_no_more_than_asked_for(conll):
    samples = read_samples([conll])
    assert samples == read_samples([conll])
    assert {len(sample.tokens) for sample in samples} == {5, 6}
    assert n_words_of(samples) == 11
    assert read_samples([conll], 4) == samples[:1]
    assert read_samples([conll], len(samples[0].tokens) + 1) == samples


def test_short_texts(conll):
    samples = read_samples([conll])
    (place,) = find_short(samples, 9, 5)
    assert len(samples[place].tokens) == 5
    with pytest.raises(UserError, match="of 5 to 4 words were expected"):
        find_short(samples, 9, 4)


def test_rounds_go_forth_and_back_and_what_fails_is_out(tmp_path):
    bench = Bench(tmp_path, 1, {"nowhere"})
    contenders = [
        python("a", TELL),
        python("b", TELL),
        python("bad", "raise SystemExit('no such file')"),
        python("absent", TELL, needs="nowhere"),
    ]
    turns, evens = [], []
    for name, measured in bench.take_turns(contenders, 2):
        turns.append(name)
        evens.append(measured.is_even)
    assert turns == ["a", "b", "bad", "b", "a"]
    assert evens == [False, False, True, False, True]
    assert {name: len(runs) for name, runs in measured.runs.items()} == {"a": 2, "b": 2}
    assert measured.failures == {
        "absent": "nowhere is missing: give --peers",
        "bad": "no such file",
    }
    (run, _) = measured.runs["a"]
    assert run.result == {"seconds": 1}
    assert run.seconds > 0
    assert run.peak > 1


def test_a_process_has_its_threads_and_peers_do_not_see_the_package(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    code = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[2], 'w'))"
    bench = Bench(tmp_path, 3)
    seen = [bench.run(python("a", code, is_ours=ours)).result for ours in (True, False)]
    assert [one["OMP_NUM_THREADS"] for one in seen] == ["3", "3"]
    assert [one.get("PYTHONPATH") for one in seen] == ["somewhere", None]


def test_a_failure_of_ours_is_the_benchmarks(tmp_path):
    bench = Bench(tmp_path, 1)
    with pytest.raises(UserError, match="with 3: it broke"):
        code = "import sys; print('it broke'); sys.exit(3)"
        bench.run(python("ours", code, is_ours=True))
    assert bench.run(python("theirs", "import sys; sys.exit(3)")) == "exit status 3"


def test_an_environment_is_made_once(tmp_path, monkeypatch):
    wanted, folder, steps = tmp_path / "wanted.txt", tmp_path / "peers", []
    wanted.write_text("a==1\n")
    folder.mkdir()
    with pytest.raises(UserError, match="holds something else"):
        environment.make_environment(folder, wanted)

    def run(step):
        steps.append(step)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(environment, "subprocess", SimpleNamespace(run=run))
    (folder / "pyvenv.cfg").touch()
    for _ in range(2):
        python = environment.make_environment(folder, wanted)
    assert [step[1:3] for step in steps] == [["-m", "venv"], ["-m", "pip"]]
    assert python == str(folder / "bin" / "python")
    wanted.write_text("a==2\n")
    environment.make_environment(folder, wanted)
    assert len(steps) == 4


def test_an_environment_that_cannot_be_made(tmp_path, monkeypatch):
    failed = SimpleNamespace(returncode=1)
    fake = SimpleNamespace(run=lambda step: failed)
    monkeypatch.setattr(environment, "subprocess", fake)
    (tmp_path / "wanted.txt").touch()
    with pytest.raises(UserError, match="but `.* -m venv .*` failed"):
        environment.make_environment(tmp_path / "peers", tmp_path / "wanted.txt")


def test_missing_modules():
    names = ["json", "no_such_module"]
    assert environment.find_missing(sys.executable, names) == {"no_such_module"}
    with pytest.raises(UserError, match="An interpreter was expected at"):
        environment.find_missing(str(PEERS / "none"), names)


def test_a_checkpoint_without_the_file_of_its_tokenizer(checkpoint, tmp_path):
    loadable = make_loadable(checkpoint, tmp_path / "loadable")
    settings = json.loads((loadable / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == ANY_TOKENIZER
    assert (loadable / "tokenizer.json").is_file()
    kept = json.loads((checkpoint / "tokenizer_config.json").read_text())
    assert kept["tokenizer_class"].startswith("XLMRoberta")
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "sentencepiece.bpe.model").touch()
    assert make_loadable(whole, tmp_path / "other") == whole


def test_conversion_table(conll, tmp_path):
    assert write_corpus([conll], tmp_path / "all.conll", 12) == 22
    assert (tmp_path / "all.conll").read_text().count("Lisbon") == 2
    measured = Measured({OURS: [Run(2.0, 4.0, 50.0)], THEIRS: [Run(3.0, 2.0, 100.0)]})
    (table,) = conversion_tables(measured, 600)
    assert [len(row) for row in table.rows] == [len(table.header)] * 2
    assert table.rows[1] == [THEIRS, "3.0", "200", "100", "1.50", "0.50", "2.00"]


def test_outputs(tmp_path):
    run = Run(2.0, 1.0, 50.0, {"spans": [[]], "calls_ms": [1.0, 3.0, 2.0], "load": 1})
    measured = Measured({OURS: [run]}, {"other": "out of memory"})
    tables = conversion_tables(measured, 10)
    text = write_outputs(tmp_path, "convert", {"runs": 1}, measured, tables, ["So."])
    assert (tmp_path / "convert.md").read_text() == text
    assert "\n\nruns 1, cores " in text
    assert "- other did not run: out of memory" in text
    records = json.loads((tmp_path / "convert.json").read_text())
    assert records["settings"]["runs"] == 1
    (record,) = records["runs"]
    assert record["contender"] == OURS
    assert (record["round"], record["load"], record["peak_mb"]) == (1, 1, 50.0)
    assert (record["call_ms_median"], record["call_ms_p99"]) == (2.0, 3.0)
    assert not {"spans", "calls_ms"} & set(record)


def test_nothing_new_to_learn(conll, tmp_path):
    samples = read_samples([conll])
    with pytest.raises(UserError, match="New entity types were expected"):
        Lesson.of(samples, samples, ["O", "B-PER", "B-LOC", "B-COURIER"], tmp_path)


@pytest.fixture
def peers(monkeypatch):
    """The modules of scripts/peers by name."""
    monkeypatch.syspath_prepend(str(PEERS))
    return importlib.import_module


@pytest.fixture
def in_process(monkeypatch, peers) -> list[str]:
    """Workers run here, and what they need and is no part of the project is missing.

    RETURNS: whose turn it was, as it goes on.
    """
    names = []

    def work(self, contender: Contender) -> Run:
        names.append(contender.name)
        worker = peers(Path(contender.command[1]).stem)
        result = worker.work(json.loads(json.dumps(contender.job)))
        return Run(2.0, 1.0, 100.0, json.loads(json.dumps(result)))

    missing = set(workers.MODULES) - {"spacy_transformers"}
    monkeypatch.setattr(Bench, "run", work)
    monkeypatch.setattr(workers.Workers, "find_missing", lambda self: missing)
    return names


def bench(monkeypatch, subject: str, *args: str | Path) -> None:
    assert run_script(monkeypatch, "benchmark.py", subject, *args, "--runs", "1") == 0


@pytest.mark.filterwarnings("ignore")
def test_use(monkeypatch, in_process, conll, checkpoint, tmp_path):
    """Bare torch in float32, given retainer's tokens, finds what retainer finds."""
    args = [conll, "--checkpoint", checkpoint, "--output", tmp_path, "--calls", "3"]
    bench(monkeypatch, "use", *args)
    lines = (tmp_path / "use.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    same = {row[0]: row[-1] for row in rows if len(row) == 7}
    assert same["retainer, float32"] == same["bare torch, float32"] == "100.0%"
    assert "- spacy-wrap did not run: spacy_wrap is missing: give --peers" in lines
    runs = json.loads((tmp_path / "use.json").read_text())["runs"]
    assert [run["contender"] for run in runs] == in_process
    assert all(run["call_ms_p99"] >= run["call_ms_median"] > 0 for run in runs)


@pytest.mark.filterwarnings("ignore")
def test_train(monkeypatch, in_process, conll, checkpoint, tmp_path):
    args = [conll, "--checkpoint", checkpoint, "--output", tmp_path, "--test", conll]
    bench(monkeypatch, "train", *args, "--replay", conll, "--epochs", "2")
    turns = [
        "retainer, nothing replayed",
        "retainer, texts replayed",
        "loop in bfloat16, no teacher, 2 layers frozen",
        "loop in bfloat16, no teacher, 1 frozen",
    ]
    assert in_process == [name for name in turns for _ in ("to train", "to read")]
    runs = json.loads((tmp_path / "train.json").read_text())["runs"]
    assert [run["contender"] for run in runs] == turns
    assert all(run["seconds"] > 0 for run in runs)
    text = (tmp_path / "train.md").read_text()
    assert "Trainer, classic recipe did not run: accelerate is missing" in text


@pytest.mark.filterwarnings("ignore")
def test_load(monkeypatch, in_process, checkpoint, tmp_path):
    pytest.importorskip("spacy_transformers")
    bench(monkeypatch, "load", "--checkpoint", checkpoint, "--output", tmp_path)
    assert in_process == ["retainer", "spacy-transformers and ner"] * 2
    for run in json.loads((tmp_path / "load.json").read_text())["runs"]:
        assert 0 < run["load"] < run["seconds"]


@pytest.mark.filterwarnings("ignore")
def test_scale(monkeypatch, in_process, conll, checkpoint, tmp_path):
    sizes = ["--words", "12", "--words", "40"]
    args = [conll, "--checkpoint", checkpoint, "--output", tmp_path]
    bench(monkeypatch, "scale", *args, *sizes)
    runs = json.loads((tmp_path / "scale.json").read_text())["runs"]
    assert [run["contender"] for run in runs] == in_process == ["12 words", "40 words"]
    for run, size in zip(runs, (12, 40), strict=True):
        assert size <= run["n_words"] < size + 6


def test_convert_is_a_whole_process(monkeypatch, conll, tmp_path, capsys):
    bench(monkeypatch, "convert", conll, "--words", "20", "--output", tmp_path)
    assert f"| {THEIRS} | " in capsys.readouterr().out


def test_a_mistake_is_one_message(monkeypatch, tmp_path, capsys):
    args = ["use", tmp_path, "--checkpoint", tmp_path / "none"]
    assert run_script(monkeypatch, "benchmark.py", *args) == 1
    assert "none' is not a folder" in " ".join(capsys.readouterr().err.split())


def test_workers_know_nothing_of_the_package():
    for path in PEERS.glob("*.py"):
        assert "import retainer" not in path.read_text()
        assert "from retainer" not in path.read_text()


@pytest.mark.parametrize(
    "tags",
    [
        ["B-PER", "I-PER", "O", "I-PER", "B-PER", "I-LOC"],
        ["I-PER", "I-LOC", "B-LOC", "B-LOC"],
        ["O", "O"],
        [],
    ],
)
def test_bare_torch_joins_tags_as_the_package_does(peers, tags):
    bounds = [(10 * i, 10 * i + 4) for i in range(len(tags))]
    expected = [(10 * a, 10 * b - 6, kind) for a, b, kind in spans_from_tags(tags)]
    assert peers("bare").join(tags, bounds) == expected


def test_the_classic_loss_is_that_of_the_package(peers):
    """Of four pieces, one of them ignored, and two of a teacher's tags among three."""
    distiller = peers("trainer").Distiller
    rng = np.random.default_rng(0)
    logits, said = rng.normal(size=(1, 4, 3)), rng.normal(size=(1, 4, 2))
    labels = torch.tensor([[0, -100, 2, 1]])

    def answer(values):
        return lambda **inputs: SimpleNamespace(logits=torch.from_numpy(values))

    settings = SimpleNamespace(teacher=answer(said), alpha=0.3, temperature=2.0)
    loss = distiller.compute_loss(settings, answer(logits), {"labels": labels})
    kept, gold = [0, 2, 3], np.array([0, 2, 1])
    expected, _ = interpolate(
        logits[0, kept],
        gold,
        said[0, kept],
        np.array([0, 1]),
        alpha=0.3,
        temperature=2.0,
    )
    assert float(loss) == pytest.approx(expected)


def test_a_fresh_head_frozen_layers_and_first_pieces(peers, checkpoint):
    tags = ["O", "B-PER", "I-PER", "B-COURIER", "I-COURIER"]
    sentence = [["Northway", "waits"], ["B-COURIER", "O"]]
    job = {"seed": 0, "tags": tags, "checkpoint": str(checkpoint), "frozen": 2}
    student = peers("classifier").prepare(job | {"sentences": [sentence]})
    trained = {name for name, p in student.model.named_parameters() if p.requires_grad}
    assert not any(".embeddings." in name for name in trained)
    layers = {name.split(".")[3] for name in trained if ".layer." in name}
    assert layers == {"2"}
    assert student.model.classifier.out_features == 5
    (one,) = student.features
    assert [label for label in one["labels"] if label >= 0] == [3, 0]
    assert one["labels"][0] == one["labels"][-1] == -100
    assert len(one["labels"]) == len(one["input_ids"])


def test_calls_are_timed_behind_those_that_warm_up(peers):
    job = peers("job")
    called = []
    taken = job.time_calls(called.append, ["a", "b"], 3)
    assert len(taken) == 3
    assert called == ["a", "b"] * 11 + ["a"]
    assert job.time_calls(called.append, [], 0) == []


def test_a_worker_is_a_program(tmp_path, peers):
    """A job goes in and a result comes out, as files."""
    (tmp_path / "worker.py").write_text(
        "from job import run\nrun(lambda job: {'twice': 2 * job['n']})\n"
    )
    (tmp_path / "job.json").write_text('{"n": 4}')
    command = [sys.executable, "worker.py", "job.json", "result.json"]
    found = {"PYTHONPATH": str(PEERS)}
    subprocess.run(command, cwd=tmp_path, check=True, env=found)
    assert json.loads((tmp_path / "result.json").read_text()) == {"twice": 8}
