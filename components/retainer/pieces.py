"""Words to windows of wordpieces, and the way back to one row per word.

Words are encoded as the checkpoints were trained, already split. What is longer than
a window becomes several that overlap; nothing is cut off.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from thinc.types import Ints1d, Ints2d

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

NO_PIECE = -1


@dataclass
class Windows:
    """The windows of one document, and where each of its words is read.

    ids: one array of piece ids a window, special pieces included.
    token_window, token_position: (n_tokens,) the window, and the place in it, of each
        word's first piece; NO_PIECE for a word without pieces.
    """

    ids: list[Ints1d]
    token_window: Ints1d
    token_position: Ints1d


def special_pieces(tokenizer: "PreTrainedTokenizerFast") -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and behind a text: <s> and </s> for XLM-R."""
    encoding = tokenizer.backend_tokenizer.encode("a")
    mask = encoding.special_tokens_mask
    first, last = mask.index(0), len(mask) - mask[::-1].index(0)
    return encoding.ids[:first], encoding.ids[last:]


def cut(n_pieces: int, capacity: int, overlap: int) -> list[int]:
    """Where windows start that cover all pieces; each but an only one is full.

    Example: n_pieces=10, capacity=6, overlap=3 -> [0, 3, 4]
    """
    last = max(n_pieces - capacity, 0)
    return [*range(0, last, capacity - overlap), last]


def place(
    first_pieces: Ints1d, starts: Sequence[int], n_pieces: int, capacity: int
) -> tuple[Ints1d, Ints1d]:
    """Read each word where its first piece is farthest from a cut.

    first_pieces: (n_tokens,) in the document, or NO_PIECE.
    RETURNS: window and place in it, each (n_tokens,).
    """
    begins = np.asarray(starts)
    # Windows overlap by less than half, the last by more: at most three hold a piece.
    last = np.searchsorted(begins, first_pieces, side="right") - 1
    windows = np.maximum(last - np.arange(3)[::-1, None], 0)  # (3, n_tokens)
    ends = np.minimum(begins[windows] + capacity, n_pieces)
    from_edge = np.minimum(first_pieces - begins[windows], ends - 1 - first_pieces)
    window_i = np.take_along_axis(windows, from_edge.argmax(axis=0)[None], axis=0)[0]
    position = first_pieces - begins[window_i]
    has_piece = first_pieces != NO_PIECE
    return (
        np.where(has_piece, window_i, NO_PIECE),
        np.where(has_piece, position, NO_PIECE),
    )


def first_piece_of_words(word_ids: Sequence[int], words: Ints1d, n: int) -> Ints1d:
    """The place of each word's first piece among its document's pieces.

    word_ids: the encoded word of each piece, ascending. words: the token of each
    encoded word. n: tokens.
    Example: word_ids=[0, 0, 1], words=[0, 2], n=3 -> [0, NO_PIECE, 2]
    """
    first_pieces = np.full(n, NO_PIECE, dtype=np.int64)
    encoded, first = np.unique(np.asarray(word_ids, dtype=np.int64), return_index=True)
    first_pieces[words[encoded]] = first
    return first_pieces


def pick_first(lengths: Ints1d, pieces: Ints1d, width: int, ends: Ints1d) -> Ints1d:
    """The first piece of each word, in the window where it is farthest from an edge.

    lengths: (n_tokens,) how many pieces a word has, in all windows; 0 for none.
    pieces: (lengths.sum(),) their places among those of all windows, (n, width), word
        by word and ascending for each. ends: (n,) where a window's padding begins.
    RETURNS: a place for each word that has pieces.
    Example: lengths=[1, 0, 3], pieces=[1, 3, 5, 6], width=4, ends=[4, 4] -> [1, 5]
    """
    token_i = np.repeat(np.arange(len(lengths)), lengths)
    window_i, position = np.divmod(pieces, width)
    is_first = np.ones(len(pieces), dtype=bool)
    is_first[1:] = (np.diff(token_i) != 0) | (np.diff(window_i) != 0)
    from_edge = np.minimum(position, ends[window_i] - 1 - position)
    order = np.lexsort((-from_edge, ~is_first, token_i))  # stable: the earlier window
    _, best = np.unique(token_i[order], return_index=True)
    return pieces[order[best]]


def encode(
    tokenizer: "PreTrainedTokenizerFast",
    docs: Sequence[Sequence[str]],
    *,
    window: int,
    overlap: int,
) -> Iterator[Windows]:
    """docs: their words. window, overlap: in pieces, special ones counted in window."""
    before, behind = special_pieces(tokenizer)
    capacity = window - len(before) - len(behind)
    kept = [[i for i, word in enumerate(words) if word.strip()] for words in docs]
    encodings = tokenizer.backend_tokenizer.encode_batch(
        [[words[i] for i in keep] for words, keep in zip(docs, kept, strict=True)],
        is_pretokenized=True,
        add_special_tokens=False,
    )
    for words, keep, encoding in zip(docs, kept, encodings, strict=True):
        first_pieces = first_piece_of_words(
            encoding.word_ids, np.asarray(keep, dtype=np.int64), len(words)
        )
        starts = cut(len(encoding.ids), capacity, overlap)
        token_window, position = place(
            first_pieces, starts, len(encoding.ids), capacity
        )
        ids = [
            np.array([*before, *encoding.ids[start : start + capacity], *behind])
            for start in starts
        ]
        position[position != NO_PIECE] += len(before)
        yield Windows(ids, token_window, position)


def pad(windows: Sequence[Ints1d], pad_id: int) -> tuple[Ints2d, Ints2d]:
    """RETURNS: (n, longest) piece ids, and a mask of the same shape, 1 where there is
    a piece and 0 on padding."""
    longest = max(map(len, windows))
    ids = np.full((len(windows), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(windows), longest), dtype=np.int64)
    for row, window in enumerate(windows):
        ids[row, : len(window)] = window
        mask[row, : len(window)] = 1
    return ids, mask


def group_by_length(
    lengths: Ints1d, max_pieces: int, max_padding: int | None = None
) -> list[Ints1d]:
    """Groups of windows, longest first, each within a budget of padded pieces.

    lengths: (n_windows,). A window longer than the budget is a group by itself.
    max_padding: the pieces of padding that a group may have; None: any number.
    Example: lengths=[2, 9, 3], max_pieces=6 -> [[1], [2, 0]]
    """
    groups: list[list[int]] = []
    longest = padding = 0
    for window_i in np.argsort(-lengths, kind="stable"):
        length = max(int(lengths[window_i]), 1)
        padding += longest - length
        is_full = groups and (len(groups[-1]) + 1) * longest > max_pieces
        is_padded = max_padding is not None and padding > max_padding
        if not groups or is_full or is_padded:
            groups.append([])
            longest, padding = length, 0
        groups[-1].append(int(window_i))
    return [np.asarray(group) for group in groups]
