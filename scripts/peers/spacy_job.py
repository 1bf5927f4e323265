"""What the workers have in common that run a pipeline of spaCy."""

import time

import spacy
from job import Job, Spans, time_use
from spacy.language import Language
from spacy.tokens import Doc


def time_pipeline(job: Job, nlp: Language) -> Job:
    def annotate(texts: list[str]):
        yield from map(spans_of, nlp.pipe(texts))

    return time_use(job, annotate, lambda text: spans_of(nlp(text)))


def time_load(job: Job) -> Job:
    """RETURNS: seconds until a saved pipeline is there, and until a text is read."""
    started = time.perf_counter()
    nlp = spacy.load(job["pipeline"])
    loaded = time.perf_counter()
    nlp(job["text"])
    return {"load": loaded - started, "seconds": time.perf_counter() - started}


def spans_of(doc: Doc) -> Spans:
    return [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
