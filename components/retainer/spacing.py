"""Where running text has spaces, told from its tokens alone.

Nothing here knows the language. An unclear case, a hyphen between words say, gets a
space.
"""

import re
from collections.abc import Sequence

from .tokenizer import BLOCKS

# The quotes that may close each quote: “so”, „so“, ”so”, »so«.
CLOSED_BY = {'"': '"', "'": "'", "``": "''", "“": "”", "”": "”", "„": "“”"}
CLOSED_BY |= {"‘": "’", "’": "’", "‚": "‘’", "«": "»", "»": "«", "‹": "›", "›": "‹"}
ALWAYS_OPEN = frozenset("“„‘‚«‹") | {"``"}
SENTENCE_END = (".", "!", "?", "…")
LEANS_ON_NEXT = re.compile(r"[(\[{¿¡]+")
LEANS_ON_LAST = re.compile(r"[,;:،؛।॥]|[.!?…؟]+|[)\]}]+|[%‰°]\w?|''")
BEFORE_DIGIT = frozenset("#$£€¥₩₹₽₺")
BETWEEN_DIGITS = frozenset("-–.:")
APOSTROPHES = frozenset("'’")
CLITIC = re.compile(r"n['’]t|['’](?!(?:em|til|tis|twas|cause)$)[^\W\d_]+", re.I)
CLITIC_REST = re.compile(r"s|t|m|d|re|ve|ll", re.I)  # of an apostrophe cut off
ELIDED = re.compile(r"[cdjlmnost]|\w*qu|\w*[aeu]ll|un|gl|aujourd", re.I)

# Groups of SCRIPT: Han and kana touch whatever stands beside them; Thai, Lao, Khmer
# and Burmese touch each other, but neither a Latin word nor a digit.
TOUCHES_ALL, TOUCHES_ITSELF = 1, 2


def _script_pattern() -> re.Pattern[str]:
    groups = {TOUCHES_ALL: "", TOUCHES_ITSELF: ""}
    for first, last in BLOCKS:
        is_southeast = first < 0x2E80 or 0xA9E0 <= first <= 0xAA60
        group = TOUCHES_ITSELF if is_southeast else TOUCHES_ALL
        groups[group] += f"{chr(first)}-{chr(last)}"
    return re.compile(f"([{groups[1]}])|([{groups[2]}])|[^\\W_]")


SCRIPT = _script_pattern()


def spaces_after(tokens: Sequence[str]) -> list[bool]:
    """Whether each token has a space behind it.

    Example: ["(", "Ann", "'s", "3", "%", ")", "in", "北", "京", "."]
        -> [False, False, True, False, False, True, False, False, False, False]
    """
    quote_sides = _quote_sides(tokens)
    padded = ["", *tokens, ""]
    leans = [
        _leans(*padded[token_i : token_i + 3], quote_sides.get(token_i))
        for token_i in range(len(tokens))
    ]
    scripts = [_edge_scripts(token) for token in tokens]
    spaces = [False] * len(tokens)
    for token_i in range(len(tokens) - 1):
        left, right = scripts[token_i][1], scripts[token_i + 1][0]
        touch = TOUCHES_ALL in (left, right) or left == right == TOUCHES_ITSELF
        lean = leans[token_i][1] or leans[token_i + 1][0]
        spaces[token_i] = not touch and not lean
    return spaces


def _edge_scripts(token: str) -> tuple[int | None, int | None]:
    """The groups of SCRIPT of the first and the last letter, digit or CJK sign.

    Example: "น.พ." -> (2, 2); "A座" -> (None, 1); "..." -> (None, None)
    """
    if token.isascii():
        return None, None
    groups = [match.lastindex for match in SCRIPT.finditer(token)]
    return (groups[0], groups[-1]) if groups else (None, None)


def _quote_sides(tokens: Sequence[str]) -> dict[int, bool]:
    """For each token that is a quote: does it open?

    A quote without a partner closes behind a sentence, before a comma and the like or
    as the last token; else it opens.
    Example: ['"', "a", "„", "b", "“", '"'] -> {0: True, 2: True, 4: False, 5: False}
    """
    sides: dict[int, bool] = {}
    padded = ["", *tokens, ""]
    quotes = [
        (i, token)
        for i, token in enumerate(tokens)
        if token in CLOSED_BY and not _is_apostrophe(*padded[i : i + 3])
    ]
    open_quotes: list[str] = []
    for quote_i, (token_i, token) in enumerate(quotes):
        closed = [i for i, quote in enumerate(open_quotes) if token in CLOSED_BY[quote]]
        if closed:
            del open_quotes[closed[-1] :]
            sides[token_i] = False
        elif any(later in CLOSED_BY[token] for _, later in quotes[quote_i + 1 :]):
            open_quotes.append(token)
            sides[token_i] = True
        else:
            before, after = padded[token_i], padded[token_i + 2]
            closes = before in SENTENCE_END or LEANS_ON_LAST.fullmatch(after or ".")
            sides[token_i] = token in ALWAYS_OPEN or (
                not before or (token == '"' and not closes)
            )
    return sides


def _is_apostrophe(before: str, token: str, after: str) -> bool:
    """Example: "it", "'", "s" and "l", "'", "eau" -> True; "so", "'", "he" -> False"""
    if token not in APOSTROPHES or not before[-1:].isalnum() or not after[:1].isalnum():
        return False
    return bool(CLITIC_REST.fullmatch(after) or ELIDED.fullmatch(before))


def _leans(
    before: str, token: str, after: str, opens: bool | None
) -> tuple[bool, bool]:
    """Whether a token takes no space before it, and none after it.

    opens: of a quote, whether it opens. An explicit white space is all there is.
    Example: "10", ":", "30" -> (True, True); "ratio", ":", "30" -> (True, False)
    """
    if token.isalnum():
        return False, False
    if opens is not None:
        return not opens, opens
    if token in BETWEEN_DIGITS and before[-1:].isdigit() and after[:1].isdigit():
        return True, True
    if _is_apostrophe(before, token, after):
        return True, True
    if token == "/":
        return before[-1:].isalnum(), after[:1].isalnum()
    if token in BEFORE_DIGIT:
        return False, after[:1].isdigit()
    if token == "@":
        return False, after[:1].isalnum()
    is_clitic = before[-1:].isalnum() and CLITIC.fullmatch(token)
    is_elision = (
        after[:1].isalnum()
        and token[-1:] in APOSTROPHES
        and ELIDED.fullmatch(token[:-1])
    )
    return (
        bool(token[:1].isspace() or LEANS_ON_LAST.fullmatch(token) or is_clitic),
        bool(token[-1:].isspace() or LEANS_ON_NEXT.fullmatch(token) or is_elision),
    )
