import shutil
from pathlib import Path

import pytest
from conftest import add_ner

from retainer.checkpoint import fingerprint, load_checkpoint, tags_of
from retainer.corpus import blank_pipeline
from retainer.errors import UserError
from retainer.locate import is_pipeline, locate
from retainer.pipelines import load_teacher


@pytest.fixture(scope="module")
def pipeline(checkpoint, tmp_path_factory) -> Path:
    """With a component that has no weights beside, and a type of its own."""
    nlp = blank_pipeline("xx")
    nlp.add_pipe("entity_ruler")
    add_ner(nlp, checkpoint).add_label("PHONE")
    nlp.initialize()
    path = tmp_path_factory.mktemp("located") / "pipeline"
    nlp.to_disk(path)
    return path


def test_a_pipeline_stands_for_its_checkpoint(pipeline, checkpoint):
    inner = pipeline / "transformer_ner" / "checkpoint"
    assert is_pipeline(pipeline)
    assert not is_pipeline(inner)
    for name in (pipeline, inner):
        assert locate(str(name)) == (str(inner), {"local_files_only": True})
    assert locate(str(checkpoint)) == (str(checkpoint), {"local_files_only": True})
    assert locate("somebody/something") == ("somebody/something", {})


def test_all_that_reads_checkpoints_reads_pipelines(pipeline, checkpoint):
    module, tokenizer = load_checkpoint(str(pipeline))
    assert tags_of(module.config)[-2:] == ["B-PHONE", "I-PHONE"]
    assert tokenizer.is_fast
    inner = str(pipeline / "transformer_ner" / "checkpoint")
    assert fingerprint(str(pipeline), None) == fingerprint(inner, None)
    assert fingerprint(inner, None) != fingerprint(str(checkpoint), None)
    labels = load_teacher(str(pipeline)).get_pipe("transformer_ner").labels
    assert labels == ("PER", "ORG", "LOC", "PHONE")


def test_a_pipeline_without_a_checkpoint(tmp_path):
    nlp = blank_pipeline("xx")
    nlp.add_pipe("entity_ruler")
    nlp.to_disk(tmp_path)
    with pytest.raises(UserError, match="no component has a folder `checkpoint`"):
        load_checkpoint(str(tmp_path))


def test_a_pipeline_with_several_checkpoints(pipeline, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(pipeline, copy)
    shutil.copytree(copy / "transformer_ner", copy / "second")
    both = f"{copy}/second/checkpoint, {copy}/transformer_ner/checkpoint"
    with pytest.raises(UserError, match=f"it has 2. Name one of them: {both}"):
        load_checkpoint(str(copy))
    assert load_checkpoint(f"{copy}/second/checkpoint")
