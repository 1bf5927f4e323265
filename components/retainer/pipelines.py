"""Checkpoints and trained pipelines, loaded and given texts to read."""

from collections.abc import Callable, Iterable, Sequence

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from .corpus import blank_pipeline
from .decoding import Decoder, decode_greedy
from .errors import UserError

# Given the Docs to iterate and their number, it may show the progress.
Track = Callable[[Iterable[Doc], int], Iterable[Doc]]


def load_teacher(
    name: str, revision: str | None = None, decoder: Decoder = decode_greedy
) -> Language:
    """A checkpoint as a pipeline, as it is.

    decoder: the student's, if the two are to be compared by what they have learnt.
    """
    nlp = blank_pipeline("xx")
    nlp.add_pipe(
        "transformer_ner", config={"model": {"name": name, "revision": revision}}
    )
    nlp.get_pipe("transformer_ner").decoder = decoder
    nlp.initialize()
    return nlp


def decoder_of(student: Language) -> Decoder:
    """Another component of that name, such as rules, has none."""
    return getattr(student.get_pipe("transformer_ner"), "decoder", decode_greedy)


def load_student(path: str) -> Language:
    """A trained pipeline: a folder, or the name of an installed package."""
    try:
        nlp = spacy.load(path)
    except OSError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(
            f"A trained pipeline was expected at '{path}', but it cannot be loaded: "
            f"{reason}. Give the folder that `spacy train` wrote, such as "
            "training/model-best."
        ) from error
    if "transformer_ner" not in nlp.pipe_names:
        raise UserError(
            f"A pipeline with a component `transformer_ner` was expected at '{path}', "
            f"but it has {', '.join(nlp.pipe_names) or 'none'}."
        )
    return nlp


def predict(nlp: Language, references: Sequence[Doc], track: Track) -> list[Doc]:
    """The references' raw text, annotated."""
    texts = (doc.text for doc in references)
    return list(track(nlp.pipe(texts), len(references)))


def predict_on_gold_tokens(
    nlp: Language, predicted: Sequence[Doc], references: Sequence[Doc], track: Track
) -> list[Doc]:
    """The references annotated with their own tokens, as `evaluate --gold-preproc`.

    predicted: of the raw text; what has the same tokens need not be read again.
    """
    docs = list(predicted)
    pairs = enumerate(zip(predicted, references, strict=True))
    other = [i for i, (doc, ref) in pairs if _words(doc) != _words(ref)]
    made = (
        Doc(
            nlp.vocab,
            _words(references[i]),
            [bool(t.whitespace_) for t in references[i]],
        )
        for i in other
    )
    annotated = nlp.pipe(made)
    for i, doc in zip(
        other, track(annotated, len(other)) if other else annotated, strict=True
    ):
        docs[i] = doc
    return docs


def _words(doc: Doc) -> list[str]:
    return [token.text for token in doc]
