"""spacy-huggingface-pipelines: the pipeline of transformers as a component of spaCy."""

import spacy
from job import Job, run
from spacy_job import time_pipeline


def work(job: Job) -> Job:
    nlp = spacy.blank("xx")
    config = {
        "model": job["checkpoint"],
        "aggregation_strategy": "simple",
        "kwargs": {"batch_size": job["batch_size"]},
    }
    nlp.add_pipe("hf_token_pipe", config=config)
    return time_pipeline(job, nlp)


if __name__ == "__main__":
    run(work)
