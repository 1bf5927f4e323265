"""The factory `transformer_ner`, and all its settings with their defaults."""

from spacy.language import Language

from .decoding import Decoder
from .losses import Loss
from .ner import TransformerNER
from .network import Network
from .scoring import Scorer

DEFAULT_CONFIG = {
    "model": {
        "@architectures": "retainer.TokenClassifier.v1",
        "name": "julian-schelb/roberta-ner-multilingual",
        "revision": None,
        "head": "extend",
        "new_rows": "mean",
        "freeze": [],
        "head_rate": 1.0,
        "window": None,
        "overlap": None,
        "max_batch_pieces": 4096,
        "precision": "auto",
        "device": "auto",
        "backend": "torch",
    },
    "loss": {"@misc": "retainer.CrossEntropy.v1"},
    "decoder": {"@misc": "retainer.GreedyDecoder.v1"},
    "scorer": {"@scorers": "retainer.ner_scorer.v1"},
    "spans_key": None,
}


@Language.factory(
    "transformer_ner",
    assigns=["doc.ents", "token.ent_iob", "token.ent_type"],
    default_config=DEFAULT_CONFIG,
    default_score_weights={
        "ents_f": 1.0,
        "ents_p": 0.0,
        "ents_r": 0.0,
        "ents_old_f": 0.0,
        "ents_new_f": 0.0,
        "ents_per_type": None,
    },
)
def make_transformer_ner(
    nlp: Language,
    name: str,
    model: Network,
    loss: Loss,
    decoder: Decoder,
    scorer: Scorer | None,
    spans_key: str | None,
) -> TransformerNER:
    return TransformerNER(
        nlp.vocab,
        model,
        name,
        loss=loss,
        decoder=decoder,
        scorer=scorer,
        spans_key=spans_key,
    )
