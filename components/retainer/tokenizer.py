"""spaCy's multi-language tokenizer, with a cut after each character where it counts.

Han, kana, Thai, Lao, Khmer and Burmese are written without spaces; spaCy's `xx` rules
leave a whole sentence of them as one token. The checkpoints that retainer extends were
trained on such text cut into characters (WikiANN), and so is it here.
"""

import re
import unicodedata
from collections.abc import Callable

from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.util import registry

# Blocks of the scripts that are written without spaces, with their punctuation.
BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x19E0, 0x19FF),  # Khmer symbols
    (0x2E80, 0x2FDF),  # CJK and Kangxi radicals
    (0x3000, 0x30FF),  # CJK punctuation, Hiragana, Katakana
    (0x31C0, 0x31FF),  # CJK strokes, Katakana extensions
    (0x3400, 0x4DBF),  # CJK extension A
    (0x4E00, 0x9FFF),  # CJK unified ideographs
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xF900, 0xFAFF),  # CJK compatibility ideographs
    (0xFF01, 0xFF0F),  # fullwidth punctuation
    (0xFF1A, 0xFF20),
    (0xFF3B, 0xFF40),
    (0xFF5B, 0xFF9F),  # and halfwidth katakana
    (0x1B000, 0x1B16F),  # kana supplement and extensions
    (0x20000, 0x3FFFF),  # CJK extensions B and up
)
# They extend the character before them although they are letters: SARA AM of Thai
# and Lao, the halfwidth voiced marks of kana.
EXTENDING_LETTERS = "\u0e33\u0eb3\uff9e\uff9f"
# They make the consonant behind them a part of the same cluster: Khmer COENG, Burmese
# VIRAMA.
LINKERS = "\u17d2\u1039"
# A URL in the middle of such a script is one token, up to a last letter, digit or sign
# of a path: spaCy looks for URLs between white space alone.
URL = r"(?i:(?:https?|ftp)://|www\.)[\w.~:/?#\[\]@!$&'()*+,;=%-]*[\w/=~%#&+-]"
JOINERS = "\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"


def _character_class(keep: Callable[[str], bool]) -> str:
    """The characters of BLOCKS that pass, as the inside of a regex class."""
    ranges: list[list[int]] = []
    for first, last in BLOCKS:
        for code in range(first, last + 1):
            if not keep(chr(code)):
                continue
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _is_extending(char: str) -> bool:
    return unicodedata.category(char)[0] == "M" or char in EXTENDING_LETTERS


def _is_cut(char: str) -> bool:
    """Cut around it: all but digits (phones stay whole) and what extends a letter."""
    return unicodedata.category(char) != "Nd" and not _is_extending(char)


def cluster_boundary(cut: str, extending: str) -> str:
    """A regex that matches, with no width, where a character may be cut off.

    cut, extending: the insides of regex classes.
    Example: "他住在DHL" is cut at 1, 2, 3; "ที่นี่" at 3; "ខ្ញ" nowhere.
    """
    behind = f"(?<=[{cut}{extending}])(?=[^{extending}])"
    before = f"(?<=[^\\s])(?=[{cut}])"
    return f"(?<![{LINKERS}])(?:{behind}|{before})"


def configure_tokenizer() -> Callable[[Language], Tokenizer]:
    """`retainer.MultilingualTokenizer.v1`: raw text to tokens, in every script."""
    create_default = registry.tokenizers.get("spacy.Tokenizer.v1")()
    cut = _character_class(_is_cut)
    boundary = cluster_boundary(cut, _character_class(_is_extending) + JOINERS)

    def create_tokenizer(nlp: Language) -> Tokenizer:
        tokenizer = create_default(nlp)
        infixes = tokenizer.infix_finditer.__self__.pattern
        pattern = f"(?a:{URL})|{boundary}|{infixes}"
        tokenizer.infix_finditer = re.compile(pattern).finditer
        # spaCy's URLs may end in any letters; here the sentence goes on in them.
        url = tokenizer.url_match.__self__.pattern.removeprefix("(?u)")
        tokenizer.url_match = re.compile(f"(?!.*[{cut}])(?:{url})").match
        return tokenizer

    return create_tokenizer
