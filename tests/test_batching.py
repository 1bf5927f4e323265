import random
from collections import Counter

import pytest
from spacy import registry
from spacy.training import Example

from retainer.batching import batch_by_length, configure_batcher, n_bytes
from retainer.errors import UserError


def batches_of(lengths, **settings) -> list[list[int]]:
    return list(batch_by_length(lengths, length_of=lambda length: length, **settings))


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100])
@pytest.mark.parametrize("pool", [1, 3, 100])
def test_every_item_is_in_one_batch_and_the_steps_are_as_many_as_without_sorting(
    n, pool
):
    lengths = [random.Random(0).randint(1, 50) for _ in range(n)]
    batches = batches_of(lengths, size=4, pool=pool)
    assert Counter(x for batch in batches for x in batch) == Counter(lengths)
    assert len(batches) == -(-n // 4)
    assert sum(len(batch) < 4 for batch in batches) <= 1


def test_a_batch_spans_no_length_of_another_in_its_pool():
    lengths = random.Random(0).sample(range(100), 60)
    batches = sorted(batches_of(lengths, size=5, pool=12))
    assert [x for batch in batches for x in batch] == sorted(lengths)


def test_pools_do_not_mix():
    batches = batches_of([9, 1, 8, 2, 7, 3, 6, 4], size=2, pool=2)
    assert sorted(batches[:2]) == [[1, 2], [8, 9]]
    assert sorted(batches[2:]) == [[3, 4], [6, 7]]


def test_a_pool_of_one_batch_keeps_what_came_together_together():
    assert [sorted(b) for b in batches_of([5, 1, 4, 2], size=2, pool=1)] == [
        [1, 5],
        [2, 4],
    ]


def test_the_order_of_batches_is_random_and_seeded():
    def order(seed):
        random.seed(seed)
        return batches_of(range(64), size=2, pool=32)

    assert order(1) == order(1) != order(2)
    assert order(1) != sorted(order(1))


def test_length_is_that_of_the_text_in_utf8(nlp_blank):
    doc = nlp_blank.make_doc("Ана in 北京")
    assert n_bytes(doc) == n_bytes(Example(doc, doc)) == 6 + 4 + 6


def test_the_batcher_of_the_configs(nlp_blank):
    make = registry.batchers.get("retainer.batch_by_length.v1")
    docs = [nlp_blank.make_doc("a " * n) for n in (3, 1, 4, 2)]
    batches = list(make(size=2, pool=2)([Example(doc, doc) for doc in docs]))
    assert sorted(len(eg.predicted) for eg in batches[0]) in ([1, 2], [3, 4])
    assert sum(map(len, batches)) == 4


@pytest.mark.parametrize(("size", "pool"), [(0, 16), (16, 0), (-1, 1)])
def test_settings_that_make_no_batch(size, pool):
    with pytest.raises(UserError, match=f"size = {size}, pool = {pool}"):
        configure_batcher(size, pool)
