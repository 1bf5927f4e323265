import numpy as np
import pytest
import torch
from conftest import SENTENCES, TAGS, add_ner
from spacy.tokens import Doc
from thinc.api import Adam, RAdam
from transformers import AutoModelForTokenClassification, AutoTokenizer

from retainer import batches
from retainer.errors import UserError
from retainer.shim import CheckpointShim, has_bfloat16, pick_device


def make_docs(nlp, texts=SENTENCES) -> list[Doc]:
    return [Doc(nlp.vocab, words=text.split()) for text in texts]


def make_model(nlp, checkpoint, **settings):
    model = add_ner(nlp, checkpoint, **settings).model
    model.initialize()
    return model


def plain_rows(checkpoint, words: list[str], *, features: bool = False) -> np.ndarray:
    """What code that knows only transformers gets: a row for each first piece.

    features: what the encoder gives, in place of logits.
    """
    spaced = {"add_prefix_space": True} if checkpoint.name == "roberta" else {}
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, **spaced)
    module = AutoModelForTokenClassification.from_pretrained(checkpoint).eval()
    batch = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        encoder = module.base_model
        given = encoder(**batch)[0] if features else module(**batch).logits
    word_ids = batch.word_ids()
    firsts = [word_ids.index(i) for i in range(len(words))]
    return given[0, firsts].numpy()


def test_rows_equal_plain_transformers(nlp_blank, any_checkpoint):
    model = make_model(nlp_blank, any_checkpoint)
    rows = model.predict(make_docs(nlp_blank))
    for text, doc_rows in zip(SENTENCES, rows, strict=True):
        expected = plain_rows(any_checkpoint, text.split())
        np.testing.assert_allclose(doc_rows, expected, atol=1e-5)


@pytest.mark.parametrize("max_batch_pieces", [1, 40, 4096])
def test_rows_do_not_depend_on_batch_or_padding(
    nlp_blank, checkpoint, max_batch_pieces
):
    model = make_model(nlp_blank, checkpoint, max_batch_pieces=max_batch_pieces)
    docs = make_docs(nlp_blank, [*SENTENCES, "", "Anna"])
    together = model.predict(docs)
    for doc, rows in zip(docs, together, strict=True):
        np.testing.assert_allclose(rows, model.predict([doc])[0], atol=1e-5)
        assert rows.shape == (len(doc), len(TAGS))


@pytest.mark.parametrize("max_padding", [0, 3, 128])
def test_nothing_depends_on_how_windows_are_padded(
    nlp_blank, checkpoint, monkeypatch, max_padding
):
    model = make_model(nlp_blank, checkpoint)
    module, run = model.shims[0].module, model.shims[0].run
    docs = make_docs(nlp_blank, [*SENTENCES, "", "Anna", " ".join(SENTENCES * 3)])
    rng = np.random.default_rng(0)
    d_rows = [rng.normal(size=(len(doc), len(TAGS))).astype("f") for doc in docs]
    results, groups = [], []

    def keep_lengths(windows, **how):
        groups.append([len(ids) for ids in windows])
        return run(windows, **how)

    monkeypatch.setattr(model.shims[0], "run", keep_lengths)
    for padding in (None, max_padding):
        monkeypatch.setattr(batches, "MAX_PADDING", padding)
        groups.clear()
        rows, backprop = model.begin_update(docs)
        backprop(d_rows)
        results.append(
            [*rows, *(p.grad.numpy() for p in module.classifier.parameters())]
        )
        module.zero_grad()
    assert all(max(g) * len(g) - sum(g) <= max_padding for g in groups)
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_long_doc_is_read_in_windows(nlp_blank, checkpoint):
    """What the second window does not reach is read as from the first by itself."""
    model = make_model(nlp_blank, checkpoint, window=24)
    doc = make_docs(nlp_blank, [" ".join(SENTENCES * 9)])[0]
    rows = model.predict([doc])[0]
    assert len(rows) == len(doc)
    assert np.isfinite(rows).all()
    shim = model.shims[0]
    words = [token.text for token in doc]
    ids = shim.tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    with torch.no_grad():
        window = torch.tensor([[0, *ids.input_ids[:22], 2]])
        logits = shim.module.eval()(window).logits[0].numpy()
    firsts = [ids.word_ids().index(i) for i in range(len(words))]
    alone = [i for i, first in enumerate(firsts) if first < 22 - 8]
    assert len(alone) > 1
    expected = np.stack([logits[1 + firsts[i]] for i in alone])
    np.testing.assert_allclose(rows[alone], expected, atol=1e-5)


@pytest.mark.parametrize(("window", "overlap"), [(65, 8), (10, 5), (20, -1)])
def test_window_that_does_not_fit(nlp_blank, checkpoint, window, overlap):
    with pytest.raises(UserError, match="window of at most 64 pieces"):
        make_model(nlp_blank, checkpoint, window=window, overlap=overlap)


def test_token_without_pieces_can_only_be_outside(nlp_blank, checkpoint):
    model = make_model(nlp_blank, checkpoint)
    doc = Doc(nlp_blank.vocab, words=["Anna", "\n", "\u200b", "Weber"])
    rows = model.predict([doc])[0]
    assert rows[1, 0] == 0
    assert np.isneginf(rows[1, 1:]).all()
    assert np.isfinite(rows[[0, 3]]).all()


def test_gradient_equals_autograd(nlp_blank, checkpoint):
    """By the weights, for a loss that is linear in the rows."""
    model = make_model(nlp_blank, checkpoint, max_batch_pieces=40)
    shim = model.shims[0]
    docs = make_docs(nlp_blank)
    rows, backprop = model.begin_update(docs)
    rng = np.random.default_rng(0)
    d_rows = [rng.normal(size=r.shape).astype(np.float32) for r in rows]
    backprop(d_rows)
    named = dict(shim.module.named_parameters())
    got = {n: p.grad.clone() for n, p in named.items() if p.grad is not None}
    shim.module.zero_grad()
    total = torch.zeros(())
    for doc, d in zip(docs, d_rows, strict=True):
        words = [token.text for token in doc]
        batch = shim.tokenizer(words, is_split_into_words=True, return_tensors="pt")
        logits = shim.module(batch.input_ids).logits[0]
        firsts = [batch.word_ids().index(i) for i in range(len(words))]
        total = total + (logits[firsts] * torch.from_numpy(d)).sum()
    total.backward()
    expected = {n: p.grad for n, p in named.items() if p.grad is not None}
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=2e-4, rtol=1e-3)


def test_features_equal_plain_transformers(nlp_blank, any_checkpoint):
    """They stand behind the logits, which are as without them."""
    model = make_model(nlp_blank, any_checkpoint)
    docs = make_docs(nlp_blank, [*SENTENCES, ""])
    rows = model.attrs["predict_features"](model, docs)
    for doc, doc_rows, logits in zip(docs, rows, model.predict(docs), strict=True):
        assert doc_rows.shape == (len(doc), len(TAGS) + 32)
        np.testing.assert_array_equal(doc_rows[:, : len(TAGS)], logits)
        if len(doc):
            words = [token.text for token in doc]
            expected = plain_rows(any_checkpoint, words, features=True)
            np.testing.assert_allclose(doc_rows[:, len(TAGS) :], expected, atol=1e-5)


def test_only_training_gives_features(nlp_blank, any_checkpoint):
    """And only if they are wanted."""
    model = make_model(nlp_blank, any_checkpoint)
    docs = make_docs(nlp_blank)
    without, _ = model.begin_update(docs)
    model.attrs["with_features"] = True
    rows, _ = model.begin_update(docs)
    features = model.attrs["predict_features"](model, docs)
    for doc_rows, logits, both in zip(rows, without, features, strict=True):
        np.testing.assert_array_equal(doc_rows[:, : len(TAGS)], logits)
        np.testing.assert_allclose(doc_rows, both, atol=1e-5)
    for doc_rows, logits in zip(model.predict(docs), without, strict=True):
        np.testing.assert_allclose(doc_rows, logits, atol=1e-5)
        assert doc_rows.shape == logits.shape


@pytest.mark.parametrize("max_batch_pieces", [40, 4096])
def test_gradient_of_features_equals_autograd(
    nlp_blank, any_checkpoint, max_batch_pieces
):
    """By the weights, for a loss that is linear in logits and features."""
    model = make_model(nlp_blank, any_checkpoint, max_batch_pieces=max_batch_pieces)
    model.attrs["with_features"] = True
    shim, docs = model.shims[0], make_docs(nlp_blank)
    rows, backprop = model.begin_update(docs)
    rng = np.random.default_rng(0)
    d_rows = [rng.normal(size=r.shape).astype(np.float32) for r in rows]
    d_rows[0][:, : len(TAGS)] = 0.0
    backprop(d_rows)
    named = dict(shim.module.named_parameters())
    got = {n: p.grad.clone() for n, p in named.items() if p.grad is not None}
    shim.module.zero_grad()
    total = torch.zeros(())
    for doc, d in zip(docs, d_rows, strict=True):
        words = [token.text for token in doc]
        batch = shim.tokenizer(words, is_split_into_words=True, return_tensors="pt")
        hidden = shim.module.base_model(batch.input_ids)[0][0]
        logits = shim.module.classifier(hidden)
        firsts = [batch.word_ids().index(i) for i in range(len(words))]
        both = torch.cat([logits, hidden], dim=1)[firsts]
        total = total + (both * torch.from_numpy(d)).sum()
    total.backward()
    expected = {n: p.grad for n, p in named.items() if p.grad is not None}
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, atol=5e-4, rtol=1e-3)


def test_features_alone_do_not_reach_the_head(nlp_blank, checkpoint):
    model = make_model(nlp_blank, checkpoint)
    model.attrs["with_features"] = True
    rows, backprop = model.begin_update(make_docs(nlp_blank))
    backprop([np.ones_like(r) * [*[0] * len(TAGS), *range(32)] for r in rows])
    module = model.shims[0].module
    assert not any(p.grad.any() for p in module.classifier.parameters())
    assert module.base_model.embeddings.word_embeddings.weight.grad.any()


def test_token_without_pieces_has_no_features(nlp_blank, checkpoint):
    model = make_model(nlp_blank, checkpoint)
    model.attrs["with_features"] = True
    doc = Doc(nlp_blank.vocab, words=["Anna", "\u200b", "Weber"])
    (rows,), backprop = model.begin_update([doc])
    assert np.isneginf(rows[1, 1:]).all()
    assert np.isfinite(rows[[0, 2]]).all()
    backprop([np.ones_like(rows)])
    parameters = model.shims[0].module.parameters()
    assert all(torch.isfinite(p.grad).all() for p in parameters if p.grad is not None)
    assert model.begin_update([])[0] == []


def test_backprop_refuses_other_shapes(nlp_blank, checkpoint):
    model = make_model(nlp_blank, checkpoint)
    rows, backprop = model.begin_update(make_docs(nlp_blank))
    with pytest.raises(ValueError, match="One gradient row for each of"):
        backprop(rows[:-1])


def test_frozen_modules_stay(nlp_blank, checkpoint):
    freeze = ["embeddings", "encoder.layer.0"]
    model = make_model(nlp_blank, checkpoint, freeze=freeze)
    module = model.shims[0].module
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    optimizer = Adam(0.01, L2=0.1, grad_clip=1.0, use_averages=False)
    for _ in range(3):
        rows, backprop = model.begin_update(make_docs(nlp_blank))
        backprop([np.ones_like(r) * [1, *[0] * 6] for r in rows])
        model.finish_update(optimizer)
    moved = {n for n, p in module.named_parameters() if not torch.equal(p, before[n])}
    frozen = tuple(f"roberta.{name}." for name in freeze)
    assert moved == {n for n in before if not n.startswith(frozen)}
    state = model.shims[0]._optimizer.state
    assert len(state) == sum(p.requires_grad for p in module.parameters())


def test_optimizer_step_is_adamw_with_clipping(nlp_blank, checkpoint):
    """Equal to a step written out; one-dimensional parameters do not decay."""
    model = make_model(nlp_blank, checkpoint)
    module = model.shims[0].module
    rows, backprop = model.begin_update(make_docs(nlp_blank))
    backprop([np.ones_like(r) * [1, *[0] * 6] for r in rows])
    parameters = {n: p for n, p in module.named_parameters() if p.grad is not None}
    norm = torch.sqrt(sum((p.grad**2).sum() for p in parameters.values()))
    clip = min(1.0, 0.5 / float(norm))
    rate, decay, eps = 0.01, 0.1, 1e-8
    expected = {}
    for name, p in parameters.items():
        gradient = p.grad * clip  # the first step's moments cancel to its sign
        kept = p.detach() * (1 - rate * decay if p.dim() > 1 else 1)
        expected[name] = kept - rate * gradient / (gradient.abs() + eps)
    model.finish_update(
        Adam(rate, L2=decay, grad_clip=0.5, eps=eps, use_averages=False)
    )
    for name, p in parameters.items():
        torch.testing.assert_close(p.detach(), expected[name], atol=2e-4, rtol=1e-4)
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize(
    "optimizer", [RAdam(0.1, use_averages=False), Adam(0.1, use_averages=True)]
)
def test_optimizer_that_is_not_plain_adam(nlp_blank, checkpoint, optimizer):
    model = make_model(nlp_blank, checkpoint)
    with pytest.raises(UserError, match="Plain Adam was expected"):
        model.finish_update(optimizer)


def test_device_and_precision():
    assert pick_device("cpu") == torch.device("cpu")
    best = "cuda" if torch.cuda.is_available() else "cpu"
    best = "mps" if torch.backends.mps.is_available() else best
    assert pick_device("auto").type == best
    is_best = has_bfloat16(torch.device("cpu"))
    for precision, enabled in (
        ("auto", is_best),
        ("float32", False),
        ("bfloat16", True),
    ):
        shim = CheckpointShim(
            device="cpu", precision=precision, freeze=[], head_rate=1.0
        )
        assert shim._autocast["enabled"] is enabled


def test_device_that_is_not_there(caplog):
    if torch.cuda.is_available():
        assert pick_device("cuda").type == "cuda"
    else:
        assert pick_device("cuda").type == pick_device("auto").type
        assert "cuda was asked for" in caplog.text
    with pytest.raises(UserError, match="'gpu7' is not one"):
        pick_device("gpu7")


def test_use_before_loading(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint)
    with pytest.raises(ValueError, match=r"call nlp\.initialize\(\) first"):
        ner.model.predict(make_docs(nlp_blank))


def test_bfloat16_stays_close(nlp_blank, checkpoint):
    exact = make_model(nlp_blank, checkpoint).predict(make_docs(nlp_blank))
    nlp_blank.remove_pipe("transformer_ner")
    half = make_model(nlp_blank, checkpoint, precision="bfloat16")
    for a, b in zip(exact, half.predict(make_docs(nlp_blank)), strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=0.5)
        assert not np.array_equal(a, b)
