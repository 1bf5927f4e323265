import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SENTENCES, TAGS
from transformers import AutoModelForTokenClassification, XLMRobertaModel

from retainer import checkpoint as ck
from retainer.errors import UserError

NEW_TAGS = [*TAGS, "B-COURIER", "I-COURIER", "B-PHONE", "I-PHONE"]


def edit_config(checkpoint: Path, path: Path, **changes) -> Path:
    shutil.copytree(checkpoint, path)
    file = path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def logits_of(module, tokenizer) -> torch.Tensor:
    words = [sentence.split() for sentence in SENTENCES]
    batch = tokenizer(
        words, is_split_into_words=True, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        return module(batch.input_ids, attention_mask=batch.attention_mask).logits


@pytest.mark.parametrize("rows", ["mean", "random", "probe"])
def test_extended_head_keeps_the_old_rows_bit_for_bit(any_checkpoint, rows):
    module, tokenizer = ck.load_checkpoint(str(any_checkpoint))
    before = logits_of(module, tokenizer)
    weight = module.classifier.weight.detach().clone()
    bias = module.classifier.bias.detach().clone()
    ck.extend_head(module, NEW_TAGS, rows)
    after = logits_of(module, tokenizer)
    assert torch.equal(module.classifier.weight[:7], weight)
    assert torch.equal(module.classifier.bias[:7], bias)
    assert after.shape[-1] == 11
    assert torch.allclose(after[..., :7], before, atol=1e-6)
    assert module.config.num_labels == module.num_labels == 11
    assert ck.tags_of(module.config) == NEW_TAGS
    assert module.config.label2id["B-PHONE"] == 9


@pytest.mark.parametrize("rows", ["mean", "probe"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_mean_rows_can_never_win(checkpoint, scale, rows):
    """Not for these texts only: for any hidden vector at all."""
    module, _ = ck.load_checkpoint(str(checkpoint))
    ck.extend_head(module, NEW_TAGS, rows)
    hidden = torch.randn(5000, 32, generator=torch.Generator().manual_seed(1)) * scale
    with torch.no_grad():
        logits = module.classifier(hidden)
    assert (logits[:, 7:].max(dim=1).values < logits[:, :7].max(dim=1).values).all()


def test_without_head_there_is_what_it_reads(any_checkpoint):
    """Through the same head it gives the logits; dropout is off."""
    module, tokenizer = ck.load_checkpoint(str(any_checkpoint))
    expected, head = logits_of(module, tokenizer), ck.get_head(module)
    with ck.without_head(module):
        features = logits_of(module, tokenizer)
    assert features.shape[-1] == head.in_features == 32
    assert torch.equal(head(features), expected)
    assert ck.get_head(module) is head
    assert torch.equal(logits_of(module, tokenizer), expected)


def test_the_head_comes_back_after_an_error(any_checkpoint):
    module, _ = ck.load_checkpoint(str(any_checkpoint))
    head = ck.get_head(module)
    with pytest.raises(ZeroDivisionError), ck.without_head(module):
        _ = 1 / 0
    assert ck.get_head(module) is head


def test_put_rows_leaves_the_old_rows_bit_for_bit(any_checkpoint):
    module, tokenizer = ck.load_checkpoint(str(any_checkpoint))
    ck.extend_head(module, NEW_TAGS, "probe")
    head, before = ck.get_head(module), logits_of(module, tokenizer)
    state = {name: p.detach().clone() for name, p in module.named_parameters()}
    with ck.without_head(module):
        features = logits_of(module, tokenizer).flatten(0, 1)
    targets = torch.arange(len(features)) % 5
    ck.put_rows(head, len(TAGS), features, targets)
    for name, p in module.named_parameters():
        is_head = name.startswith("classifier.")
        assert torch.equal(
            p[:7] if is_head else p, state[name][:7] if is_head else state[name]
        )
        assert not is_head or (p[7:] != state[name][7:]).all()
        assert p.requires_grad
        assert p.grad is None
    assert torch.equal(logits_of(module, tokenizer)[..., :7], before[..., :7])


def test_put_rows_hands_the_old_logits_on(monkeypatch):
    """Old columns alone, as they are: the new rows' own start is of no meaning."""
    head, given = torch.nn.Linear(3, 5), []

    def fit(features, known, targets, n_new):
        given.append((features, known, targets, n_new))
        return torch.full((n_new, 3), 7.0), torch.full((n_new,), 8.0)

    monkeypatch.setattr(ck, "fit_rows", fit)
    features = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    ck.put_rows(head, 4, features.to(torch.bfloat16), torch.zeros(6, dtype=torch.long))
    ((got, known, targets, n_new),) = given
    assert (got.dtype, n_new, targets.tolist()) == (torch.float32, 1, [0] * 6)
    torch.testing.assert_close(known, head(got)[:, :4])
    assert head.weight[4].tolist() == [7.0] * 3
    assert head.bias[4].item() == 8.0


def test_half_precision_weights_are_read_as_float32(checkpoint, tmp_path):
    module, tokenizer = ck.load_checkpoint(str(checkpoint))
    ck.save_checkpoint(module.half(), tokenizer, tmp_path)
    again, _ = ck.load_checkpoint(str(tmp_path))
    assert {p.dtype for p in again.parameters()} == {torch.float32}


def test_extended_checkpoint_opens_with_transformers(any_checkpoint, tmp_path):
    module, tokenizer = ck.load_checkpoint(str(any_checkpoint))
    ck.extend_head(module, NEW_TAGS, "mean")
    expected = logits_of(module, tokenizer)
    ck.save_checkpoint(module, tokenizer, tmp_path)
    plain = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert ck.tags_of(plain.config) == NEW_TAGS
    assert torch.equal(logits_of(plain, tokenizer), expected)
    assert not list(tmp_path.glob("*.bin"))


def test_fresh_head_is_another(checkpoint):
    module, _ = ck.load_checkpoint(str(checkpoint))
    weight = module.classifier.weight.detach().clone()
    torch.manual_seed(3)
    ck.replace_head(module, NEW_TAGS)
    assert module.classifier.weight.shape == (11, 32)
    assert not torch.allclose(module.classifier.weight[:7], weight)
    assert not module.classifier.bias.any()


def test_longest_window_leaves_out_padding_positions(any_checkpoint):
    module, tokenizer = ck.load_checkpoint(str(any_checkpoint))
    longest = ck.longest_window(module.config, tokenizer)
    assert longest == (64 if "roberta" in module.config.model_type else 66)
    ids = torch.full((1, longest), 5)
    assert module(ids).logits.shape[1] == longest


@pytest.mark.parametrize("name", ["no/such/folder", "./nowhere", "../nowhere"])
def test_wrong_path(name):
    with pytest.raises(UserError, match="is not a folder. Check `paths.base`"):
        ck.load_checkpoint(name)


def test_hub_id_without_network():
    with pytest.raises(UserError, match="nobody/nothing.*cannot be read"):
        ck.load_checkpoint("nobody/nothing", revision="0" * 40)


def test_folder_without_config(tmp_path):
    with pytest.raises(UserError, match=r"has no config\.json"):
        ck.load_checkpoint(str(tmp_path))


def test_encoder_without_head(checkpoint, tmp_path):
    XLMRobertaModel.from_pretrained(checkpoint).save_pretrained(tmp_path / "encoder")
    with pytest.raises(UserError, match=r"token-classification head.*XLMRobertaModel"):
        ck.load_checkpoint(str(tmp_path / "encoder"))


def test_head_that_is_named_but_not_there(checkpoint, tmp_path):
    XLMRobertaModel.from_pretrained(checkpoint).save_pretrained(tmp_path / "encoder")
    for file in checkpoint.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "encoder")
    path = edit_config(
        tmp_path / "encoder",
        tmp_path / "liar",
        architectures=["XLMRobertaForTokenClassification"],
        id2label=dict(enumerate(TAGS)),
    )
    with pytest.raises(
        UserError, match=r"classifier\.bias, classifier\.weight is miss"
    ):
        ck.load_checkpoint(str(path))


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["LABEL_0", "LABEL_1"], "no 'O'"),
        (["O", "B-PER", "B-PER"], "B-PER is given more than once"),
    ],
)
def test_checkpoint_with_bad_labels(checkpoint, tmp_path, tags, message):
    path = edit_config(checkpoint, tmp_path / "bad", id2label=dict(enumerate(tags)))
    with pytest.raises(UserError, match=message):
        ck.load_checkpoint(str(path))


def test_truncated_weights(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "cut")
    file = tmp_path / "cut" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        ck.load_checkpoint(str(tmp_path / "cut"))


def test_special_pieces_of_each_family(any_checkpoint):
    from retainer.pieces import special_pieces

    _, tokenizer = ck.load_checkpoint(str(any_checkpoint))
    words = SENTENCES[0].split()
    before, behind = special_pieces(tokenizer)
    ids = tokenizer(words, is_split_into_words=True).input_ids
    bare = tokenizer(words, is_split_into_words=True, add_special_tokens=False)
    assert before + bare.input_ids + behind == ids
    assert np.array_equal((len(before), len(behind)), (1, 1))
