"""The pipeline component: wires the parts, owns no mathematics."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import srsly
from spacy import util
from spacy.errors import Errors
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example, validate_examples, validate_get_examples
from thinc.api import Optimizer
from thinc.types import Floats2d, Ints1d

from .decoding import Decoder, span_confidences
from .errors import UserError
from .gold import check_examples, gold_ids
from .labels import (
    check_unique,
    entity_types,
    extend_tags,
    legal_transitions,
    spans_from_tags,
)
from .losses import NO_GOLD, Loss, count_labelled, loss_of_docs
from .network import Network
from .scoring import Scorer
from .teacher import Teacher, check_teacher

# first token, token behind the last, type, confidence
ScoredSpan = tuple[int, int, str, float]
NO_TEACHER = (
    "A teacher was expected, because the loss distils from one, but there is none. Add "
    "[initialize.components.transformer_ner.teacher], or set the loss to "
    "retainer.CrossEntropy.v1."
)


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
        self.teacher: Teacher | None = None
        self._lessons: Callable[[], Iterable[Example]] | None = None
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
    ) -> None:
        """Load the checkpoint unless there is one, and give it the types it lacks.

        labels: all entity types; read from the checkpoint and the examples if None.
        teacher: asked about the examples at the first update.
        """
        validate_get_examples(get_examples, "TransformerNER.initialize")
        check_unique(labels or [], "the labels")
        self.model.initialize()
        self.cfg["old_types"] = entity_types(self.tags)
        seen = check_examples(
            get_examples(), None if labels is None else {*labels, *self.labels}
        )
        self._extend([*entity_types(labels or []), *self.cfg["added"], *seen])
        self.cfg["added"] = []
        for label in self.labels:
            self.vocab.strings.add(label)
        if not self.loss.needs_teacher:
            return
        if teacher is not None:
            check_teacher(teacher.tags, self.tags)
            self.teacher, self._lessons = teacher, get_examples
        elif seen:
            raise UserError(NO_TEACHER)

    def predict(self, docs: Iterable[Doc]) -> list[list[ScoredSpan]]:
        """Entities per doc. One may go on over tokens that have no pieces."""
        tags = self.tags
        legal = legal_transitions(tags)
        results = []
        for logits in self.model.predict(list(docs)):
            seen = np.flatnonzero(np.isfinite(logits).all(axis=1))
            path = self.decoder(logits[seen], legal)
            spans = spans_from_tags([tags[i] for i in path])
            confidences = span_confidences(logits[seen], path, spans)
            results.append(
                [
                    (int(seen[start]), int(seen[end - 1]) + 1, kind, confidence)
                    for (start, end, kind), confidence in zip(
                        spans, confidences, strict=True
                    )
                ]
            )
        return results

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

        drop: not used, the checkpoint's own configuration has its dropout.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "TransformerNER.update")
        docs = [eg.predicted for eg in examples]
        gold, groups = self._read_gold(examples)
        teacher, columns = self._ask_teacher(docs)
        n_labelled = count_labelled(gold)
        for group in groups:
            rows, backprop = self.model.begin_update([docs[i] for i in group])
            loss, d_rows = loss_of_docs(
                self.loss,
                rows,
                [gold[i] for i in group],
                teacher and [teacher[i] for i in group],
                columns,
                n_labelled,
            )
            backprop(d_rows)
            losses[self.name] += loss
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
        gold, _ = self._read_gold(examples)
        teacher, columns = self._ask_teacher([eg.predicted for eg in examples])
        return loss_of_docs(
            self.loss, scores, gold, teacher, columns, count_labelled(gold)
        )

    def _read_gold(
        self, examples: Sequence[Example]
    ) -> tuple[list[Ints1d], list[Ints1d]]:
        """Tag ids per doc, NO_GOLD where a token has no label or no pieces; groups."""
        docs = [eg.predicted for eg in examples]
        groups, has_pieces = self.model.attrs["plan_batch"](self.model, docs)
        columns = {tag: i for i, tag in enumerate(self.tags)}
        gold = [
            np.where(has, gold_ids(eg, columns), NO_GOLD)
            for eg, has in zip(examples, has_pieces, strict=True)
        ]
        return gold, groups

    def _ask_teacher(
        self, docs: Sequence[Doc]
    ) -> tuple[list[Floats2d] | None, Ints1d | None]:
        """The teacher's rows per doc, and the student's column of each of its tags."""
        if not self.loss.needs_teacher:
            return None, None
        if self.teacher is None:
            raise UserError(NO_TEACHER)
        if self._lessons is not None:
            self.teacher.remember(eg.predicted for eg in self._lessons())
            self._lessons = None
        columns = np.array([self.tags.index(tag) for tag in self.teacher.tags])
        return self.teacher.logits(docs), columns

    def score(self, examples: Iterable[Example], **kwargs) -> dict[str, Any]:
        if self.scorer is None:
            return {}
        return self.scorer(examples, old_types=self.cfg["old_types"], **kwargs)

    def to_disk(self, path: Path | str, *, exclude: Iterable[str] = ()) -> None:
        """Write cfg and `checkpoint`, a folder that HuggingFace opens as it is."""
        serialize = {
            "cfg": lambda p: srsly.write_json(p, self.cfg),
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
            "checkpoint": lambda p: self.model.attrs["load"](self.model, p),
        }
        util.from_disk(path, deserialize, exclude)
        return self
