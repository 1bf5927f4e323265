from itertools import islice
from pathlib import Path

import pytest
import spacy
from spacy import registry, util
from spacy.schemas import ConfigSchemaTraining
from thinc.api import Config

from retainer.config import configure_warmup_linear, count_epoch_steps, read_labels
from retainer.corpus import blank_pipeline
from retainer.docbin import write_docs
from retainer.errors import UserError

NLP = blank_pipeline("xx")


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("[]", []),
        ('["PER"]', ["PER"]),
        ('\n[\n  "PER",\n  "COURIER"\n]\n', ["PER", "COURIER"]),
        ('["\u4eba", "GPE-LOC"]', ["\u4eba", "GPE-LOC"]),
    ],
)
def test_labels_are_read(tmp_path: Path, content: str, labels: list[str]) -> None:
    path = tmp_path / "labels.json"
    path.write_text(content, encoding="utf8")
    assert read_labels(path) == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"A JSON list of entity types was expected in '.*labels\.json', but"),
        (b'["PER"', r"A JSON list of entity types was expected in '.*labels\.json'"),
        (b"PER\nLOC\n", r"was expected in '.*labels\.json', but .*Write it with"),
        (b'["\xff"]', r"was expected in '.*labels\.json', but .*Write it with"),
        (b'{"PER": 1}', r"but it holds \{'PER': 1\}\. Write it with `spacy init lab"),
        (b'"PER"', r"but it holds PER\. Write it"),
        (b"null", r"but it holds None\. Write it"),
        (b'["PER", 1]', r"but it holds \['PER', 1\]\. Write it"),
        (b'["PER", null]', r"but it holds \['PER', None\]\. Write it"),
        (b'["PER", "LOC", "PER"]', r"in .*labels\.json, but PER is given more than"),
    ],
)
def test_bad_labels(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_labels(path)


def test_long_content_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[" + "1, " * 1000 + "1]")
    with pytest.raises(UserError) as error:
        read_labels(path)
    assert len(str(error.value)) < 300 + len(str(path))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"in '.*none\.json', but Can't read file"):
        read_labels(tmp_path / "none.json")


def test_folder_is_no_labels_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="A JSON list"):
        read_labels(tmp_path)


def test_no_path_is_no_labels() -> None:
    assert read_labels(None) is None


def test_reader_is_registered() -> None:
    assert registry.readers.get("retainer.Labels.v1") is read_labels


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A folder with 7 docs in two files, one of them in a folder of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    write_docs([NLP("a")] * 5, folder / "a.spacy")
    write_docs([NLP("a")] * 2, folder / "more" / "b.spacy")
    return folder


@pytest.mark.parametrize(
    ("name", "batch_size", "epochs", "n_steps"),
    [
        ("a.spacy", 1, 1, 4),
        ("a.spacy", 2, 1, 2),
        ("a.spacy", 5, 1, 1),
        ("a.spacy", 9, 1, 1),
        ("a.spacy", 9, 5, 4),
        ("a.spacy", 2, 2, 5),
        ("", 3, 1, 2),
        ("", 1, 1, 6),
        ("", 3, 5, 14),
    ],
)
def test_epoch_steps(
    corpus: Path, name: str, batch_size: int, epochs: int, n_steps: int
) -> None:
    assert count_epoch_steps(corpus / name, batch_size, epochs) == n_steps


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs(corpus: Path, epochs: int) -> None:
    with pytest.raises(UserError, match=rf"`epochs` of 1 or more .* it is {epochs}\."):
        count_epoch_steps(corpus, 1, epochs)


def test_warmup_goes_up_then_down_to_nothing(corpus: Path) -> None:
    rates = configure_warmup_linear(corpus, 3, 4, 1.0, 0.25)
    steps = [0, 1 / 3, 2 / 3, 1.0] + [step / 9 for step in range(8, -1, -1)] + [0.0]
    assert list(islice(rates, 14)) == pytest.approx(steps)
    rates = configure_warmup_linear(corpus, 7, 2, 1.0, 0.0)
    assert list(islice(rates, 3)) == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": None}, r"`path` of retainer\.warmup_linear\.v1, but it is 'None'"),
        ({"path": Path("none.spacy")}, r"but it is 'none\.spacy'.* `--paths\.train`"),
        ({"batch_size": 0}, r"`batch_size` of 1 or more .* but it is 0"),
        ({"max_epochs": 0}, r"`max_epochs` of 1 or more .* they are 0 and 0\.1"),
        ({"warmup": 1.5}, r"`warmup` from 0 to 1 .* they are 2 and 1\.5"),
    ],
)
def test_settings_that_give_no_schedule(corpus: Path, settings, message: str) -> None:
    good = {"path": corpus, "batch_size": 2, "max_epochs": 2, "initial_rate": 1.0}
    with pytest.raises(UserError, match=message):
        configure_warmup_linear(**{**good, "warmup": 0.1, **settings})


def test_an_empty_corpus_is_refused(tmp_path: Path) -> None:
    write_docs([], tmp_path / "a.spacy")
    with pytest.raises(UserError, match=r"retainer\.epoch_steps\.v1, but it is '.*a\."):
        count_epoch_steps(tmp_path / "a.spacy", 1, 1)


CONFIG = """
[paths]
train = null

[nlp]
lang = "xx"
pipeline = []

[training]
max_epochs = 2

[training.eval_frequency]
@misc = "retainer.epoch_steps.v1"
path = ${paths.train}
batch_size = ${training.batcher.size}
epochs = 1

[training.patience]
@misc = "retainer.epoch_steps.v1"
path = ${paths.train}
batch_size = ${training.batcher.size}
epochs = 3

[training.batcher]
@batchers = "spacy.batch_by_sequence.v1"
size = 2

[training.optimizer]
@optimizers = "Adam.v1"

[training.optimizer.learn_rate]
@schedules = "retainer.warmup_linear.v1"
path = ${paths.train}
batch_size = ${training.batcher.size}
max_epochs = ${training.max_epochs}
initial_rate = 0.5
warmup = 0.5
"""


def test_a_config_takes_both_functions(corpus: Path) -> None:
    config = Config().from_str(CONFIG, overrides={"paths.train": str(corpus)})
    nlp = util.load_model_from_config(config, auto_fill=True)
    section = nlp.config.interpolate()["training"]
    resolved = registry.resolve(section, schema=ConfigSchemaTraining)
    assert (resolved["eval_frequency"], resolved["patience"]) == (3, 11)
    schedule = resolved["optimizer"].schedules["learn_rate"]
    assert list(islice(schedule, 4)) == pytest.approx([0.125, 0.25, 0.375, 0.5])


def test_a_loaded_pipeline_goes_on_at_a_constant_rate(tmp_path: Path) -> None:
    config = Config().from_str(CONFIG, interpolate=False)
    util.load_model_from_config(config, auto_fill=True).to_disk(tmp_path)
    optimizer = spacy.load(tmp_path).resume_training()
    assert optimizer.learn_rate == 0.5
    optimizer.step_schedules()
    assert optimizer.learn_rate == 0.5
