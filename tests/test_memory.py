import pytest
import torch
from conftest import SENTENCES, add_ner
from spacy.training import Example

from retainer.errors import UserError
from retainer.memory import explaining_memory, is_out_of_memory

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee")
NOW = r"Set max_batch_pieces, now {}, to less than that, or lower training\.batcher"


def allocate_too_much(*args, **kwargs) -> None:
    """What a CPU raises, for there is no petabyte."""
    torch.empty(1 << 50, dtype=torch.uint8)


def run_out(*args, **kwargs) -> None:
    raise CUDA


@pytest.fixture(params=[allocate_too_much, run_out])
def fails(request):
    return request.param


@pytest.fixture
def ner(nlp_blank, checkpoint):
    ner = add_ner(nlp_blank, checkpoint, window=32, max_batch_pieces=80)
    nlp_blank.initialize()
    return ner


@pytest.fixture
def examples(nlp_blank) -> list[Example]:
    docs = [nlp_blank.make_doc(text) for text in SENTENCES]
    return [Example.from_dict(doc, {"entities": []}) for doc in docs]


@pytest.mark.parametrize(
    "error",
    [
        CUDA,
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `create`"),
    ],
)
def test_kinds(error: Exception) -> None:
    assert is_out_of_memory(error)
    with (
        pytest.raises(UserError, match=r"expected to read, but .*: \S.* Lower it\."),
        explaining_memory("to read", "Lower it."),
    ):
        raise error


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="^shapes$"), explaining_memory("a", "b"):
        raise RuntimeError("shapes")


@pytest.mark.parametrize("texts", [SENTENCES[:1], SENTENCES])
def test_predict(nlp_blank, ner, monkeypatch, fails, texts) -> None:
    monkeypatch.setattr(ner.model.shims[0].module, "forward", fails)
    n_at_once = r"\d\d" if len(texts) == 1 else "80"
    message = rf"to read {n_at_once} wordpieces at once, but it has run out: .*\. "
    message += NOW.format(80) + ".*lower the model's window, now 32"
    with pytest.raises(UserError, match=message):
        list(nlp_blank.pipe(texts))


@pytest.mark.parametrize("in_backward", [False, True])
def test_update(ner, examples, monkeypatch, fails, in_backward) -> None:
    if in_backward:
        monkeypatch.setattr(torch.autograd, "backward", fails)
    else:
        monkeypatch.setattr(ner.model.shims[0].module, "forward", fails)
    with pytest.raises(UserError, match=r"at once, but it has run out: .*max_batch_pi"):
        ner.update(examples[:1])


def test_a_text_that_is_too_long(nlp_blank, ner, monkeypatch) -> None:
    """In training, no lower max_batch_pieces would help."""
    monkeypatch.setattr(torch.autograd, "backward", run_out)
    doc = nlp_blank.make_doc(" ".join(SENTENCES))
    message = r"to train on a text of \d+ wordpieces, but .* several of up to 80 word"
    with pytest.raises(UserError, match=message):
        ner.update([Example.from_dict(doc, {"entities": []})])


def test_fitting_rows(nlp_blank, checkpoint, examples, monkeypatch) -> None:
    ner = add_ner(nlp_blank, checkpoint, new_rows="probe")
    examples[0] = Example.from_dict(examples[0].predicted, {"entities": [(0, 4, "X")]})
    nlp_blank.initialize(lambda: examples)
    monkeypatch.setattr(ner.model.shims[0].module, "forward", run_out)
    with pytest.raises(UserError, match=NOW.format("4,096")):
        ner.update(examples)


def test_step(nlp_blank, ner, examples, monkeypatch) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", run_out)
    sgd = nlp_blank.create_optimizer()
    sgd.use_radam = False
    with pytest.raises(UserError, match=r"weights, but .*\. .*: raise `freeze` of the"):
        ner.update(examples, sgd=sgd)
