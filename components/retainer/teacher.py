"""A frozen network whose logits are remembered per text."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from spacy import util
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.types import Floats2d
from tqdm import tqdm

from .checkpoint import fingerprint, load_config, tags_of
from .errors import UserError
from .locate import CHECKPOINT, is_pipeline
from .network import Network, build_token_classifier
from .remembered import Remembered, key_of

DOCS_AT_ONCE = 256
FACTORY = "transformer_ner"


class Teacher:
    """Asks the network once for each text, and remembers the rows in float16.

    The network is loaded when a text is new, and dropped by `remember` when all are
    known: a second epoch costs neither time nor memory for weights.

    recall: makes what is remembered from the start, when the teacher is first asked.
    """

    def __init__(
        self,
        tags: list[str],
        load: Callable[[], Network],
        recall: Callable[[], Remembered] = Remembered,
    ):
        self.tags = tags
        self._load, self._recall = load, recall
        self._network: Network | None = None

    @cached_property
    def _known(self) -> Remembered:
        return self._recall()

    def logits(self, docs: Sequence[Doc]) -> list[Floats2d]:
        """One row of logits over `tags` for each token of each doc, float32."""
        keys = [_key(doc) for doc in docs]
        rows_of = self._known.logits
        pairs = zip(keys, docs, strict=True)
        new = {key: doc for key, doc in pairs if key not in rows_of}
        if new:
            self._ask(new)
        return [rows_of[key].astype(np.float32) for key in keys]

    def features(self, doc: Doc) -> Floats2d:
        """(n_tokens, D), float32; -inf if the doc was not remembered with features."""
        features_of = self._known.features
        known = features_of.get(_key(doc))
        if known is None:
            size = next(iter(features_of.values())).shape[1] if features_of else 0
            known = np.full((len(doc), size), -np.inf)
        return known.astype(np.float32)

    def remember(self, docs: Iterable[Doc], featured: Iterable[Doc] = ()) -> None:
        """Ask for all that are new, with a progress bar, write the file if there is to
        be one, and drop the network.

        featured: docs of which the features are to be remembered, too.
        """
        first = {_key(doc): doc for doc in featured}
        features_of = self._known.features
        first = {key: doc for key, doc in first.items() if key not in features_of}
        then = {_key(doc): doc for doc in docs}
        known = {*self._known.logits, *first}
        then = {key: doc for key, doc in then.items() if key not in known}
        if not first and not then:
            return
        n_docs = len(first) + len(then)
        with tqdm(total=n_docs, desc="Teacher", unit="doc", disable=None) as bar:
            for new, with_features in ((first, True), (then, False)):
                for batch in minibatch(new.items(), DOCS_AT_ONCE):
                    self._ask(dict(batch), with_features=with_features)
                    bar.update(len(batch))
        self._known.save()
        self._network = None

    def _get_network(self) -> Network:
        if self._network is None:
            self._network = self._load()
        return self._network

    def _ask(self, new: dict[bytes, Doc], *, with_features: bool = False) -> None:
        network, docs = self._get_network(), list(new.values())
        if with_features:
            rows = network.attrs["predict_features"](network, docs)
        else:
            rows = network.predict(docs)
        n_tags = len(self.tags)
        for key, doc_rows in zip(new, rows, strict=True):
            self._known.logits[key] = doc_rows[:, :n_tags].astype(np.float16)
            if with_features:
                features = doc_rows[:, n_tags:].astype(np.float16)
                self._known.features[key] = features


def _key(doc: Doc) -> bytes:
    return key_of(token.text for token in doc)


def check_teacher(teacher_tags: Sequence[str], student_tags: Sequence[str]) -> None:
    """Raise UserError unless the student knows all that the teacher can say."""
    missing = [tag for tag in teacher_tags if tag not in student_tags]
    if missing:
        raise UserError(
            "A teacher whose labels the student has was expected, but the student "
            f"lacks {', '.join(missing)} (it has {', '.join(student_tags)}). Give the "
            "checkpoint that the student starts from as its teacher."
        )


def configure_checkpoint_teacher(
    name: str,
    revision: str | None,
    cache: Path | None,
    max_batch_pieces: int,
    precision: str,
    device: str,
) -> Teacher:
    """`retainer.CheckpointTeacher.v1`: a folder, or a hub id and a commit of it.

    A pipeline's folder is one, too, read by torch and in windows of all that the
    checkpoint can read (else see `configure_pipeline_teacher`).
    cache: a file for what it said, so that the next training on the same texts need
        not ask; null: none. The others are those of `retainer.TokenClassifier.v1`.
    """
    return _make_teacher(
        name,
        revision,
        cache,
        max_batch_pieces=max_batch_pieces,
        precision=precision,
        device=device,
        window=None,
        overlap=None,
        backend="torch",
    )


def configure_pipeline_teacher(
    path: Path,
    component: str,
    cache: Path | None,
    max_batch_pieces: int,
    precision: str,
    device: str,
) -> Teacher:
    """`retainer.PipelineTeacher.v1`: a saved pipeline, which reads as it was set to.

    Its logits are those of its own: in its windows, and on ONNX Runtime if
    scripts/optimise.py made it so. Such a one has no features to teach.
    component: which, by its name in the pipeline. The others are those of
        `retainer.CheckpointTeacher.v1`.
    """
    model = _read_component(Path(path), component)["model"]
    return _make_teacher(
        str(Path(path) / component / CHECKPOINT),
        None,
        cache,
        max_batch_pieces=max_batch_pieces,
        precision=precision,
        device=device,
        window=model["window"],
        overlap=model["overlap"],
        backend=model.get("backend", "torch"),
    )


def _read_component(path: Path, name: str) -> dict[str, Any]:
    """The settings of a `transformer_ner` in a saved pipeline."""
    if not is_pipeline(path):
        raise UserError(
            f"A saved pipeline was expected at '{path}', but no folder with a "
            "config.cfg and a meta.json is there. Give the folder that `spacy train` "
            "wrote, such as training/model-best."
        )
    components = util.load_config(path / "config.cfg", interpolate=True)["components"]
    factories = {key: x.get("factory") for key, x in components.items()}
    if factories.get(name) != FACTORY:
        has = [f"{key} ({factory})" for key, factory in factories.items()]
        raise UserError(
            f"A {FACTORY} called '{name}' was expected in the pipeline '{path}', but "
            f"it has {', '.join(has) or 'no component'}. Correct `component`."
        )
    return components[name]


def _make_teacher(
    name: str, revision: str | None, cache: Path | None, **reading: Any
) -> Teacher:
    """reading: settings of `retainer.TokenClassifier.v1` that training has no part in.

    But for how much is read at once, they are part of who it is in the cache.
    """

    def load() -> Network:
        network = build_token_classifier(
            name=name,
            revision=revision,
            head="extend",
            new_rows="mean",
            freeze=[],
            head_rate=1.0,
            **reading,
        )
        network.initialize()
        return network

    def recall() -> Remembered:
        if cache is None:
            return Remembered()
        manner = {key: x for key, x in reading.items() if key != "max_batch_pieces"}
        return Remembered(Path(cache), f"{fingerprint(name, revision)} {manner}")

    return Teacher(tags_of(load_config(name, revision)), load, recall)
