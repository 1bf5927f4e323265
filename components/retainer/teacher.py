"""A frozen network whose logits are remembered per text."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from spacy.tokens import Doc
from spacy.util import minibatch
from thinc.types import Floats2d
from tqdm import tqdm

from .checkpoint import load_config, tags_of
from .errors import UserError
from .network import Network, build_token_classifier

Words = tuple[str, ...]
DOCS_AT_ONCE = 256


class Teacher:
    """Asks the network once for each text, and remembers the rows in float16.

    The network is loaded when a text is new, and dropped by `remember` when all are
    known: a second epoch costs neither time nor memory for weights.
    """

    def __init__(self, tags: list[str], load: Callable[[], Network]):
        self.tags = tags
        self._load = load
        self._network: Network | None = None
        self._rows: dict[Words, Floats2d] = {}

    def logits(self, docs: Sequence[Doc]) -> list[Floats2d]:
        """One row of logits over `tags` for each token of each doc, float32."""
        words = [_words(doc) for doc in docs]
        pairs = zip(words, docs, strict=True)
        new = {key: doc for key, doc in pairs if key not in self._rows}
        if new:
            if self._network is None:
                self._network = self._load()
            rows = self._network.predict(list(new.values()))
            for key, doc_rows in zip(new, rows, strict=True):
                self._rows[key] = doc_rows.astype(np.float16)
        return [self._rows[key].astype(np.float32) for key in words]

    def remember(self, docs: Iterable[Doc]) -> None:
        """Ask for all that are new, with a progress bar, and drop the network."""
        docs = [doc for doc in docs if _words(doc) not in self._rows]
        if not docs:
            return
        with tqdm(total=len(docs), desc="Teacher", unit="doc", disable=None) as bar:
            for batch in minibatch(docs, DOCS_AT_ONCE):
                self.logits(batch)
                bar.update(len(batch))
        self._network = None


def _words(doc: Doc) -> Words:
    return tuple(token.text for token in doc)


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
    name: str, revision: str | None, max_batch_pieces: int, precision: str, device: str
) -> Teacher:
    """`retainer.CheckpointTeacher.v1`: a folder, or a hub id and a commit of it.

    The folder `transformer_ner/checkpoint` of a pipeline that retainer trained is one.
    The settings are those of `retainer.TokenClassifier.v1`.
    """

    def load() -> Network:
        network = build_token_classifier(
            name=name,
            revision=revision,
            head="extend",
            new_rows="mean",
            freeze=[],
            head_rate=1.0,
            window=None,
            overlap=None,
            max_batch_pieces=max_batch_pieces,
            precision=precision,
            device=device,
        )
        network.initialize()
        return network

    return Teacher(tags_of(load_config(name, revision)), load)
