"""What a teacher says of the texts of a training, and how much of it is kept."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from spacy.scorer import PRFScore
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import logger, minibatch
from thinc.types import Floats2d, Ints1d
from wasabi import msg

from .background import silence
from .decoding import Decoder, ScoredSpan, find_entities
from .errors import UserError
from .labels import (
    OUTSIDE,
    TypedSpan,
    entity_types,
    legal_transitions,
    spans_from_tags,
    split_tag,
)
from .losses import NO_GOLD, Loss, TagMap
from .regimes import SURE, Regime, open_spans
from .replay import Replay
from .teacher import Teacher

BATCH = 64  # docs that are read at once
NO_TEACHER = (
    "A teacher was expected, because the loss distils from one, but there is none. Add "
    "[initialize.components.transformer_ner.teacher], or set the loss to "
    "retainer.CrossEntropy.v1."
)
UNUSED_REPLAY = (
    "The texts to replay are not used, for the loss has no teacher whose word could be "
    "taught of them. Take retainer.BackgroundDistillation.v1, or no texts."
)
NO_REPLAY = (
    "There are no texts to replay: what the checkpoint knows of other domains and "
    "languages is not rehearsed."
)
ADVICE = {
    True: "Give some, without labels: --paths.replay FILE",
    False: "retainer.TokenClassifier.v1 could be given some.",
}
NO_OTHER_TEXTS = (
    "The texts of the corpus alone were expected, for the shared transformer reads no "
    "others, but there are some to replay or to rehearse. Leave out "
    "[initialize.components.transformer_ner.replay] and nlp.rehearse(), or set the "
    "model to retainer.TokenClassifier.v1."
)


class Lessons:
    """Holds the teacher, the texts to replay, and the regime of the corpus.

    The teacher is asked at the first update, not before: labels can be read from a
    corpus without its weights.
    """

    def __init__(
        self, teacher: Teacher, replay: Replay | None, decoder: Decoder, loss: Loss
    ):
        self.teacher, self.replay, self._decoder = teacher, replay, decoder
        self.regime = Regime.of(teacher.tags)
        self._loss = loss
        given = loss.annotated
        if given not in (None, "auto") and not {*given} <= {*self.regime.types}:
            raise UserError(
                "`annotated` of the loss was expected to be auto, or a list of types "
                f"that the teacher knows ({', '.join(self.regime.types)}), but it is "
                f"{given}. Leave out what is new: the corpus alone knows of it."
            )

    def begin(
        self,
        docs: Sequence[Doc],
        gold: Sequence[Ints1d],
        tags: Sequence[str],
        *,
        can_replay: bool = True,
    ) -> None:
        """Ask the teacher about all texts, with a progress bar, and find the regime.

        gold: (T,) tag ids per doc, of `tags`, the student's.
        can_replay: whether the student could be taught other texts than the corpus.
        """
        replayed = [] if self.replay is None else self.replay.docs
        held_out = [] if self.replay is None else self.replay.held_out_docs
        featured = replayed if self.has_features else []
        self.teacher.remember([*docs, *replayed, *held_out], featured)
        for doc, ids in zip(docs, gold, strict=True):
            (rows,) = self.teacher.logits([doc])
            self.regime.add(_names(ids, tags), self.teacher.tags, rows)
        # spaCy shows its log of this level to nobody who does not ask
        msg.info(f"Old types in the corpus: {self.regime.describe()}")
        if self._loss.annotated is not None and self.replay is None:
            logger.warning("%s %s", NO_REPLAY, ADVICE[can_replay])

    @property
    def has_features(self) -> bool:
        """Whether the teacher's features are taught, which the student's must meet."""
        return self.replay is not None and self._loss.features is not None

    @property
    def annotated(self) -> set[str]:
        """Old types of which the corpus knows better than the teacher."""
        given = self._loss.annotated
        return self.regime.annotated if given == "auto" else set(given or ())

    def relabel(self, doc: Doc, ids: Ints1d, tags: Sequence[str]) -> Ints1d:
        """The gold ids with pseudo-labels, if the loss wants them (Zhang et al. 2023).

        What the teacher finds on O, of types that are not annotated, becomes gold where
        it is as sure as the median of its type, or as SURE if `begin` found none; else
        its tokens are left without gold.
        """
        if not self._loss.pseudo_labels:
            return ids
        columns = {tag: i for i, tag in enumerate(tags)}
        (rows,) = self.teacher.logits([doc])
        ids, annotated = ids.copy(), self.annotated
        thresholds = self.regime.thresholds
        for span in open_spans(_names(ids, tags), self.teacher.tags, rows):
            if span.type in annotated:
                continue
            is_sure = span.confidence >= thresholds.get(span.type, SURE)
            ids[span.tokens] = (
                [columns[tag] for tag in span.tags] if is_sure else NO_GOLD
            )
        return ids

    def tag_map(self, tags: Sequence[str]) -> TagMap:
        """tags: the student's."""
        columns = np.array([tags.index(tag) for tag in self.teacher.tags])
        return TagMap(columns, tags.index(OUTSIDE), len(tags))

    def draw(self, docs: Iterable[Doc]) -> list[Doc]:
        """Texts to replay beside the docs of a batch; none for a loss that would not
        look at them."""
        looks = self._loss.unlabelled or self._loss.features
        if self.replay is None or looks is None:
            return []
        return self.replay.draw(sum(map(len, docs)))

    def said(self, docs: Sequence[Doc], gold: Sequence[Ints1d]) -> list[Floats2d]:
        """The teacher's logits, (T, K) per doc, without what the corpus knows better:
        on labelled tokens, types that it annotates. Features, if they are taught, stand
        behind them, (T, K + D)."""
        rows = self.teacher.logits(docs)
        known = self.annotated
        annotated = np.array([split_tag(tag)[1] in known for tag in self.teacher.tags])
        outside = self.teacher.tags.index(OUTSIDE)
        for doc_rows, ids in zip(rows, gold, strict=True):
            labelled = ids >= 0
            doc_rows[labelled] = silence(doc_rows[labelled], annotated, outside)
        if self.has_features:
            features = map(self.teacher.features, docs)
            rows = [np.hstack(both) for both in zip(rows, features, strict=True)]
        return rows

    def score_kept(
        self,
        examples: Sequence[Example],
        predict: Callable[[list[Doc]], Iterable[Iterable[ScoredSpan]]],
    ) -> float | None:
        """How much of the teacher's word is kept: F1 over the old types, 0 to 1, of
        the student against the teacher on the texts that are held out of the replay.

        Without such, on the examples: against the gold for types that the corpus
        annotates, against the teacher for the others. None if there is no entity.
        """
        docs = [] if self.replay is None else self.replay.held_out_docs
        self.teacher.remember(docs or [eg.predicted for eg in examples])
        if docs:
            expected = [self.expected(doc) for doc in docs]
        else:
            docs = [eg.predicted for eg in examples]
            expected = [self.expected_of(eg) for eg in examples]
        old_types = set(entity_types(self.teacher.tags))
        found = [
            {(start, end, kind) for start, end, kind, _ in spans if kind in old_types}
            for batch in minibatch(docs, BATCH)
            for spans in predict(batch)
        ]
        return agreement(found, expected)

    def expected_of(self, eg: Example) -> set[TypedSpan]:
        """The gold entities of types that the corpus annotates; the teacher's of the
        others that it knows."""
        annotated = self.regime.annotated
        gold = spans_from_tags([tag or OUTSIDE for tag in eg.get_aligned_ner()])
        return {span for span in gold if span[2] in annotated} | {
            span for span in self.expected(eg.predicted) if span[2] not in annotated
        }

    def expected(self, doc: Doc) -> set[TypedSpan]:
        """The entities that the teacher finds in a doc."""
        (rows,) = self.teacher.logits([doc])
        tags = self.teacher.tags
        found = find_entities(rows, tags, legal_transitions(tags), self._decoder)
        return {(start, end, kind) for start, end, kind, _ in found}


def _names(ids: Ints1d, tags: Sequence[str]) -> list[str | None]:
    return [tags[i] if i >= 0 else None for i in ids]


def agreement(
    found: Iterable[set[TypedSpan]], expected: Iterable[set[TypedSpan]]
) -> float | None:
    """F1, 0 to 1, over whole entities of all docs; None where neither has any."""
    prf = PRFScore()
    for ours, theirs in zip(found, expected, strict=True):
        prf.score_set(ours, theirs)
    return prf.fscore if len(prf) else None
