import gc

import numpy as np
import pytest
import torch
from conftest import SENTENCES, add_ner
from spacy.tokens import Doc
from thinc.api import Adam

from retainer import trunk as module_
from retainer.trunk import Trunk

HALF = 0.5  # of the three layers of each checkpoint of conftest: two


def make_docs(nlp, texts=SENTENCES) -> list[Doc]:
    return [Doc(nlp.vocab, words=text.split()) for text in texts]


def make_model(nlp, checkpoint, **settings):
    settings = {"freeze": HALF, "precision": "float32", **settings}
    model = add_ner(nlp, checkpoint, **settings).model
    model.initialize()
    return model


def drop_nothing(model):
    for part in model.shims[0].module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    for name in ("dropout", "dropout_prob"):
        for part in model.shims[0].module.modules():
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)


def gradients(model, docs) -> tuple[list[np.ndarray], dict[str, torch.Tensor]]:
    rows, backprop = model.begin_update(docs)
    backprop([np.sign(doc_rows) for doc_rows in rows])
    module = model.shims[0].module
    found = {n: p.grad.clone() for n, p in module.named_parameters() if p.requires_grad}
    assert all(p.grad is None for p in module.parameters() if not p.requires_grad)
    module.zero_grad()
    return rows, found


def test_rows_and_gradients_are_those_of_the_whole(nlp_blank, any_checkpoint):
    """New texts, known ones, and both together."""
    model = make_model(nlp_blank, any_checkpoint)
    drop_nothing(model)
    shim, docs = model.shims[0], make_docs(nlp_blank, [*SENTENCES, "", "Anna"])
    assert shim.trunk is not None
    first = gradients(model, docs[:2])
    again = gradients(model, docs[:2])
    mixed = gradients(model, docs)
    shim.trunk = None
    for (rows, grads), few in ((first, True), (again, True), (mixed, False)):
        expected = gradients(model, docs[:2] if few else docs)
        for ours, theirs in zip(rows, expected[0], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert grads.keys() == expected[1].keys() != set()
        for name, grad in grads.items():
            torch.testing.assert_close(grad, expected[1][name], atol=1e-4, rtol=1e-3)


def test_a_text_goes_through_the_lower_part_once(nlp_blank, checkpoint, monkeypatch):
    model, read = make_model(nlp_blank, checkpoint), []
    run = Trunk._run

    def count(self, input_ids, mask):
        read.append(len(input_ids))
        return run(self, input_ids, mask)

    model.shims[0].trunk  # noqa: B018  it is tried on a text of its own
    monkeypatch.setattr(Trunk, "_run", count)
    docs = make_docs(nlp_blank)
    for batch in (docs[:2], docs[:2], docs, docs[::-1]):
        model.begin_update(batch)
    assert sum(read) == len(docs)
    model.predict(docs)
    assert sum(read) == len(docs), "use remembers nothing"


def test_what_is_frozen_drops_nothing(nlp_blank, checkpoint):
    """The whole encoder is frozen: training sees what use sees."""
    model = make_model(nlp_blank, checkpoint, freeze=1.0)
    model.shims[0].module.dropout.p = 0.0  # the head's own
    docs = make_docs(nlp_blank)
    rows, _ = model.begin_update(docs)
    for ours, used in zip(rows, model.predict(docs), strict=True):
        np.testing.assert_allclose(ours, used, atol=1e-5)


@pytest.mark.parametrize(
    ("freeze", "has_trunk"),
    [
        (0.0, False),
        ([], False),
        (["embeddings"], False),
        (["encoder.layer.0"], False),
        (["embeddings", "encoder.layer.1"], False),
        (["embeddings", "encoder.layer.0"], True),
        (0.34, True),
        (1.0, True),
    ],
)
def test_a_trunk_is_what_is_frozen_from_the_embeddings_on(
    nlp_blank, checkpoint, freeze, has_trunk
):
    shim = make_model(nlp_blank, checkpoint, freeze=freeze).shims[0]
    assert (shim.trunk is not None) == has_trunk


def test_a_module_that_cannot_be_taken_apart_is_run_whole(
    nlp_blank, checkpoint, monkeypatch
):
    model = make_model(nlp_blank, checkpoint)
    drop_nothing(model)
    monkeypatch.setattr(
        module_.Given, "forward", lambda self, *args, **kw: 0 * self.states
    )
    assert model.shims[0].trunk is None
    docs = make_docs(nlp_blank)
    rows, _ = model.begin_update(docs)
    for ours, used in zip(rows, model.predict(docs), strict=True):
        np.testing.assert_allclose(ours, used, atol=1e-5)


@pytest.mark.parametrize("n_kept", [0, 1, 100])
def test_memory_is_bounded(nlp_blank, checkpoint, monkeypatch, n_kept):
    model = make_model(nlp_blank, checkpoint)
    drop_nothing(model)
    docs = make_docs(nlp_blank, ["Anna in Kazan"] + ["Ben in Kazan"] * 3)
    trunk = model.shims[0].trunk
    monkeypatch.setattr(module_, "MOST_BYTES", 0)
    model.begin_update(docs)
    assert trunk._n_bytes == 0
    monkeypatch.setattr(module_, "MOST_BYTES", 10**9)
    model.begin_update(docs[:1])
    one = trunk._n_bytes
    assert one == next(iter(trunk._known.values())).nbytes > 0
    monkeypatch.setattr(module_, "MOST_BYTES", one * n_kept)
    rows, _ = model.begin_update(docs)
    assert trunk._n_bytes <= one * max(n_kept, 1)
    for ours, used in zip(rows, model.predict(docs), strict=True):
        np.testing.assert_allclose(ours, used, atol=1e-5)


def test_frozen_weights_stay_and_the_others_learn(nlp_blank, checkpoint):
    model = make_model(nlp_blank, checkpoint)
    module, docs = model.shims[0].module, make_docs(nlp_blank)
    before = {name: p.clone() for name, p in module.named_parameters()}
    for _ in range(2):
        rows, backprop = model.begin_update(docs)
        backprop([np.ones_like(doc_rows) for doc_rows in rows])
        model.finish_update(Adam(0.01, use_averages=False))
    changed = {n for n, p in module.named_parameters() if not torch.equal(p, before[n])}
    assert changed == {n for n, p in module.named_parameters() if p.requires_grad}


def test_bfloat16_is_remembered_as_such(nlp_blank, checkpoint):
    model = make_model(nlp_blank, checkpoint, precision="bfloat16")
    model.begin_update(make_docs(nlp_blank))
    known = model.shims[0].trunk._known.values()
    assert {states.dtype for states in known} == {torch.bfloat16}


def test_another_checkpoint_has_another_trunk(nlp_blank, checkpoint, tmp_path):
    model = make_model(nlp_blank, checkpoint)
    before = model.shims[0].trunk
    model.attrs["save"](model, tmp_path / "saved")
    model.attrs["load"](model, tmp_path / "saved")
    assert model.shims[0].trunk is not before
    gc.collect()
    docs = make_docs(nlp_blank)
    drop_nothing(model)
    rows, _ = model.begin_update(docs)
    for ours, used in zip(rows, model.predict(docs), strict=True):
        np.testing.assert_allclose(ours, used, atol=1e-5)
