"""The pipeline component: wires the parts, owns no mathematics."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from spacy.errors import Errors
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example, validate_examples, validate_get_examples
from spacy.util import logger
from thinc.api import Optimizer
from thinc.types import Floats2d

from .decoding import Decoder, ScoredSpan, find_entities
from .errors import UserError
from .gold import check_examples, gold_ids
from .labels import check_unique, entity_types, extend_tags, legal_transitions
from .learning import ask, learn, read_gold
from .lessons import NO_OTHER_TEXTS, NO_TEACHER, UNUSED_REPLAY, Lessons
from .losses import Loss, Sizes, loss_of_docs
from .network import Network
from .rehearsal import lessons_to_rehearse, loss_to_rehearse
from .replay import Replay
from .scoring import Scorer
from .teacher import Teacher, check_teacher


class TransformerNER(TrainablePipe):
    """A HuggingFace token classifier that can learn further entity types.

    spans_key: also write the entities to doc.spans[spans_key], with their confidences
    in its attrs["scores"].
    """

    def __init__(
        self,
        vocab,
        model: Network,
        name: str = "transformer_ner",
        *,
        loss: Loss,
        decoder: Decoder,
        scorer: Scorer | None,
        spans_key: str | None = None,
    ):
        self.vocab, self.model, self.name = vocab, model, name
        self.loss, self.decoder, self.scorer = loss, decoder, scorer
        self.spans_key = spans_key
        self.lessons: Lessons | None = None
        # what `initialize` was given, until the first update looks at it
        self._get_examples: Callable[[], Iterable[Example]] | None = None
        self._n_old = 0  # tags before `initialize`
        # a copy of the model, which nlp.resume_training sets
        self._rehearsal_model: Network | None = None
        # old_types: the checkpoint's; added: by add_label before there is a model
        self.cfg: dict[str, Any] = {"old_types": [], "added": []}

    @property
    def is_resizable(self) -> bool:
        return True

    @property
    def tags(self) -> list[str]:
        """The columns of the model's rows; none before the checkpoint is loaded."""
        return self.model.attrs["get_tags"](self.model)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(entity_types([*self.tags, *self.cfg["added"]]))

    @property
    def label_data(self) -> list[str]:
        return list(self.labels)

    def add_label(self, label: str) -> int:
        """A further entity type. RETURNS: 0 if it is there already, else 1."""
        if not isinstance(label, str):
            raise ValueError(Errors.E187)
        if label in self.labels:
            return 0
        if self.tags:
            self._extend([label])
        else:
            self.cfg["added"].append(label)
        self.vocab.strings.add(label)
        return 1

    def _extend(self, types: Iterable[str]) -> None:
        self.model.attrs["extend_tags"](self.model, extend_tags(self.tags, types))

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Language | None = None,
        labels: list[str] | None = None,
        teacher: Teacher | None = None,
        replay: Replay | None = None,
    ) -> None:
        """Load the checkpoint unless there is one, and give it the types it lacks.

        labels: all entity types; read from the checkpoint and the examples if None.
        teacher: asked about the examples, and replay, at the first update.
        replay: further texts, which need `nlp` to be read.
        """
        validate_get_examples(get_examples, "TransformerNER.initialize")
        check_unique(labels or [], "the labels")
        self.model.initialize()
        self.cfg["old_types"] = entity_types(self.tags)
        self._n_old, self._get_examples = len(self.tags), get_examples
        seen = check_examples(
            get_examples(), None if labels is None else {*labels, *self.labels}
        )
        self._extend([*entity_types(labels or []), *self.cfg["added"], *seen])
        self.cfg["added"] = []
        for label in self.labels:
            self.vocab.strings.add(label)
        self.lessons, self.model.attrs["with_features"] = None, False
        if not self.loss.needs_teacher:
            if replay is not None:
                logger.warning(UNUSED_REPLAY)
            return
        if teacher is not None:
            check_teacher(teacher.tags, self.tags)
            if replay is not None:
                if not self.model.attrs["can_replay"]:
                    raise UserError(NO_OTHER_TEXTS)
                replay.read(nlp)
            self.lessons = Lessons(teacher, replay, self.decoder, self.loss)
        elif seen:
            raise UserError(NO_TEACHER)

    def predict(self, docs: Iterable[Doc]) -> list[list[ScoredSpan]]:
        """Entities per doc."""
        tags = self.tags
        legal = legal_transitions(tags)
        return [
            find_entities(logits, tags, legal, self.decoder)
            for logits in self.model.predict(list(docs))
        ]

    def set_annotations(
        self, docs: Iterable[Doc], scores: Sequence[Sequence[ScoredSpan]]
    ) -> None:
        """Entities that a doc has already stay, and what overlaps them is left out."""
        for doc, scored in zip(docs, scores, strict=True):
            taken = {
                token_i for ent in doc.ents for token_i in range(ent.start, ent.end)
            }
            free = [s for s in scored if taken.isdisjoint(range(s[0], s[1]))]
            spans = [Span(doc, start, end, label=kind) for start, end, kind, _ in free]
            doc.set_ents([*doc.ents, *spans])
            if self.spans_key is not None:
                confidences = [confidence for *_, confidence in free]
                doc.spans[self.spans_key] = SpanGroup(
                    doc, spans=spans, attrs={"scores": confidences}
                )

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """Forward and back, one group of docs at a time; a step only with `sgd`.

        drop: not used, the checkpoint's own configuration has its dropout (but see
        `attention` and `trunk`).
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "TransformerNER.update")
        docs = [eg.predicted for eg in examples]
        self._begin()
        docs += [] if self.lessons is None else self.lessons.draw(docs)
        losses[self.name] += learn(self.model, self.loss, self.lessons, examples, docs)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def rehearse(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optimizer | None = None,
        losses: dict[str, float] | None = None,
    ) -> dict[str, float]:
        """As `update`, but no label is looked at: what is taught of the texts is what
        the component said of them at nlp.resume_training() (see `rehearsal`)."""
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "TransformerNER.rehearse")
        if not self.model.attrs["can_replay"]:
            raise UserError(NO_OTHER_TEXTS)
        loss, before = loss_to_rehearse(self.loss), self._rehearsal_model
        lessons = lessons_to_rehearse(before, self.lessons, self.decoder, loss)
        docs = [eg.predicted for eg in examples]
        losses[self.name] += learn(self.model, loss, lessons, [], docs)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def get_loss(
        self, examples: Iterable[Example], scores: list[Floats2d]
    ) -> tuple[float, list[Floats2d]]:
        """scores: the model's rows for the examples' predicted docs.

        RETURNS: mean nats per labelled token, and its gradient by the rows.
        """
        examples = list(examples)
        validate_examples(examples, "TransformerNER.get_loss")
        docs = [eg.predicted for eg in examples]
        self._begin()
        gold, _ = read_gold(self.model, self.lessons, examples, docs)
        said = ask(self.model, self.lessons, docs, gold)
        return loss_of_docs(self.loss, scores, gold, *said, Sizes.of(gold))

    def _begin(self) -> None:
        """Before the first update: ask the teacher, and fit the rows of new tags."""
        if self.loss.needs_teacher and self.lessons is None:
            raise UserError(NO_TEACHER)
        if self._get_examples is None:
            return
        columns = {tag: i for i, tag in enumerate(self.tags)}
        examples = list(self._get_examples())
        self._get_examples = None
        docs = [eg.predicted for eg in examples]
        gold = [gold_ids(eg, columns) for eg in examples]
        if self.lessons is not None:
            can_replay = self.model.attrs["can_replay"]
            self.lessons.begin(docs, gold, self.tags, can_replay=can_replay)
            self.model.attrs["with_features"] = self.lessons.has_features
        fit_rows = self.model.attrs["fit_rows"]
        if fit_rows is not None and self._n_old < len(self.tags):
            fit_rows(self.model, docs, gold, self._n_old)

    def score(self, examples: Iterable[Example], **kwargs) -> dict[str, Any]:
        if self.scorer is None:
            return {}
        examples = list(examples)
        scores = self.scorer(examples, old_types=self.cfg["old_types"], **kwargs)
        if self.lessons is not None:
            kept = self.lessons.score_kept(examples, self.predict)
            scores["ents_kept_f"] = kept
        return scores

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        """Write cfg and `checkpoint`, a folder that HuggingFace opens as it is."""
        serialize = {
            "cfg": lambda p: srsly.write_json(p, self.cfg | {"has_checksums": True}),
            "vocab": lambda p: self.vocab.to_disk(p, exclude=exclude),
            "checkpoint": lambda p: self.model.attrs["save"](self.model, p),
        }
        util.to_disk(path, serialize, exclude)

    def from_disk(
        self, path: Path | str, *, exclude: Iterable[str] = ()
    ) -> "TransformerNER":
        deserialize = {
            "cfg": lambda p: self.cfg.update(srsly.read_json(p)),
            "vocab": lambda p: self.vocab.from_disk(p, exclude=exclude),
            "checkpoint": lambda p: self.model.attrs["load"](
                self.model, p, has_checksums=self.cfg.pop("has_checksums", False)
            ),
        }
        util.from_disk(path, deserialize, exclude)
        return self
