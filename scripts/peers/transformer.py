"""spacy-transformers: the same encoder, with a parser of spaCy on it."""

import spacy
from job import Job, run
from spacy.training import Example
from spacy_job import time_load

LISTENER = {
    "@architectures": "spacy-transformers.TransformerListener.v1",
    "grad_factor": 1.0,
    "pooling": {"@layers": "reduce_mean.v1"},
}
PARSER = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner",
    "extra_state_tokens": False,
    "hidden_width": 64,
    "maxout_pieces": 2,
    "use_upper": False,
    "nO": None,
    "tok2vec": LISTENER,
}


def work(job: Job) -> Job:
    return save(job) if job["action"] == "save" else time_load(job)


def save(job: Job) -> Job:
    """An untrained pipeline: its size and speed do not depend on what it learnt."""
    nlp = spacy.blank("xx")
    nlp.add_pipe("transformer", config={"model": {"name": job["checkpoint"]}})
    nlp.add_pipe("ner", config={"model": PARSER})
    doc = nlp.make_doc(job["text"])
    entities = [(doc[0].idx, doc[0].idx + len(doc[0]), label) for label in job["types"]]
    nlp.initialize(
        lambda: [Example.from_dict(doc, {"entities": [ent]}) for ent in entities]
    )
    nlp.to_disk(job["pipeline"])
    return {}


if __name__ == "__main__":
    run(work)
