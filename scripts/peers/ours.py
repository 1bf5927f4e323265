"""retainer itself, measured as its peers are; run by the interpreter that has it."""

import time
from itertools import cycle

import spacy
from job import N_WARM_UP, Job, run
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train
from spacy.util import load_config
from spacy_job import time_load, time_pipeline


def work(job: Job) -> Job:
    actions = {
        "use": lambda job: time_pipeline(job, load(job)),
        "save": save,
        "load": time_load,
        "scale": time_stream,
        "train": time_training,
    }
    return actions[job["action"]](job)


def load(job: Job) -> Language:
    """A saved pipeline, or else a checkpoint as it is."""
    if "pipeline" in job:
        return spacy.load(job["pipeline"])
    tokenizer = {"@tokenizers": "retainer.MultilingualTokenizer.v1"}
    settings = {"tokenizer": tokenizer, "batch_size": job["batch_size"]}
    nlp = spacy.blank("xx", config={"nlp": settings})
    model = {"name": job["checkpoint"], "precision": job["precision"], "device": "cpu"}
    nlp.add_pipe("transformer_ner", config={"model": model})
    nlp.initialize()
    return nlp


def save(job: Job) -> Job:
    load({key: job[key] for key in job if key != "pipeline"}).to_disk(job["pipeline"])
    return {}


def time_stream(job: Job) -> Job:
    """The texts again and again, until there were as many words; nothing is kept."""
    nlp = load(job)
    list(nlp.pipe(text for text, _ in job["texts"][:N_WARM_UP]))
    n_words = 0

    def stream():
        nonlocal n_words
        for text, n in cycle(job["texts"]):
            if n_words >= job["n_words"]:
                return
            n_words += n
            yield text

    started = time.perf_counter()
    n_ents = sum(len(doc.ents) for doc in nlp.pipe(stream()))
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "n_words": n_words, "n_ents": n_ents}


def time_training(job: Job) -> Job:
    """What `spacy train` does. seconds: of all steps, without the initialisation, what
    spaCy scores, and the saving."""
    config = load_config(job["config"], overrides=job["overrides"], interpolate=False)
    nlp = init_nlp(config)
    evaluate, scoring = nlp.evaluate, 0.0

    def score(*args, **kwargs):
        nonlocal scoring
        started = time.perf_counter()
        scores = evaluate(*args, **kwargs)
        scoring += time.perf_counter() - started
        return scores

    nlp.evaluate = score
    started = time.perf_counter()
    train(nlp)
    seconds = time.perf_counter() - started - scoring
    nlp.to_disk(job["output"])
    return {"seconds": seconds}


if __name__ == "__main__":
    run(work)
