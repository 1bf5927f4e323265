"""Docs as records of annotation tools, JSON with character spans.

prodigy       {"text", "tokens", "spans": [{"start", "end", "label"}]}
doccano       {"text", "label": [[start, end, label]]}
label-studio  {"data": {"text"}, "annotations": [{"result": [{"value": {...}}]}]}

They hold two lists of character spans more, where these have something to say: `words`,
the tokens of the file that the Doc was made of, and `missing`, the text without
annotation. `jsonl.py` reads them back.
"""

from collections.abc import Sequence
from typing import Any

from spacy.tokens import Doc

from .errors import UserError

STYLES = ("prodigy", "doccano", "label-studio")
CharSpan = tuple[int, int]


def to_record(
    doc: Doc,
    style: str,
    scores: Sequence[float | None] | None = None,
    meta: dict | None = None,
) -> dict[str, Any]:
    """The entities of a Doc as the tool can import them.

    scores: one for each entity. For Label Studio, entities with scores are predictions,
        which an annotator is shown, and entities without are annotations.
    """
    if style not in STYLES:
        raise UserError(
            f"A style of {', '.join(STYLES)} was expected, but it is '{style}'. "
            "Correct it."
        )
    confidences = [None] * len(doc.ents) if scores is None else scores
    pairs = list(zip(doc.ents, confidences, strict=True))
    extra = {"words": doc.user_data.get("words"), "missing": _missing_spans(doc)}
    extra = {
        key: [list(span) for span in spans] for key, spans in extra.items() if spans
    }
    if meta is None and "source" in doc.user_data:
        meta = {"source": doc.user_data["source"]}
    if meta:
        extra["meta"] = meta
    if style == "label-studio":
        return _to_label_studio(doc, pairs, extra, scores is not None)
    if style == "doccano":
        label = [[ent.start_char, ent.end_char, ent.label_] for ent, _ in pairs]
        known = {} if scores is None else {"scores": list(confidences)}
        return {"text": doc.text, "label": label, **known, **extra}
    spans = [
        {
            "start": ent.start_char,
            "end": ent.end_char,
            "token_start": ent.start,
            "token_end": ent.end - 1,
            "label": ent.label_,
            **({} if score is None else {"score": score}),
        }
        for ent, score in pairs
    ]
    tokens = [
        {
            "text": token.text,
            "start": token.idx,
            "end": token.idx + len(token),
            "id": token.i,
            "ws": bool(token.whitespace_),
        }
        for token in doc
    ]
    return {"text": doc.text, "tokens": tokens, "spans": spans, **extra}


def _missing_spans(doc: Doc) -> list[CharSpan]:
    """The tokens without annotation, in characters."""
    return [(t.idx, t.idx + len(t)) for t in doc if t.ent_iob == 0]


def _to_label_studio(
    doc: Doc, pairs: list, extra: dict[str, Any], is_predicted: bool
) -> dict[str, Any]:
    result = [
        {
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": ent.start_char,
                "end": ent.end_char,
                "text": ent.text,
                "labels": [ent.label_],
            },
            **({} if score is None else {"score": score}),
        }
        for ent, score in pairs
    ]
    key = "predictions" if is_predicted else "annotations"
    version = {"model_version": "retainer"} if is_predicted else {}
    return {"data": {"text": doc.text, **extra}, key: [{**version, "result": result}]}
