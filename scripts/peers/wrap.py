"""spacy-wrap: a checkpoint with its head, on the layers of spacy-transformers."""

import spacy
from job import Job, run
from spacy_job import time_pipeline


def work(job: Job) -> Job:
    import spacy_wrap  # noqa: F401 (registers the component)

    nlp = spacy.blank("xx")
    config = {
        "model": {"name": job["checkpoint"]},
        "predictions_to": ["ents"],
        "aggregation_strategy": "first",  # as checkpoints are trained: it finds most
    }
    nlp.add_pipe("token_classification_transformer", config=config)
    return time_pipeline(job, nlp)


if __name__ == "__main__":
    run(work)
