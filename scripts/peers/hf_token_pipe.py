"""spacy-huggingface-pipelines: the pipeline of transformers as a component of spaCy.

With what finds most here: a word's tag is that of its first piece, as checkpoints are
trained, and bounds are contracted, since they may take in the space before a word.
"""

import spacy
from job import Job, run
from spacy_job import time_pipeline


def work(job: Job) -> Job:
    nlp = spacy.blank("xx")
    config = {
        "model": job["checkpoint"],
        "aggregation_strategy": "first",
        "alignment_mode": "contract",
        "kwargs": {"batch_size": job["batch_size"]},
    }
    nlp.add_pipe("hf_token_pipe", config=config)
    return time_pipeline(job, nlp)


if __name__ == "__main__":
    run(work)
