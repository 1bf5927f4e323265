import pytest
from hypothesis import given
from hypothesis import strategies as st

from retainer.spacing import spaces_after


def join(tokens: list[str]) -> str:
    spaces = spaces_after(tokens)
    assert len(spaces) == len(tokens)
    return "".join(t + " " * s for t, s in zip(tokens, spaces, strict=True))


# The texts; the tokens are the same without the spaces, cut at the bars.
TEXTS = [
    # Latin: punctuation, brackets, quotes
    "I| |met| |Ann|,| |Bob| |and| |Li|.",
    "What|?!| |Wait|...| |no|;| |(|so| |[|he|]| |says|)|:",
    '"|So|"|,| |he| |said|,| |"|is| |it|.|"',
    'a| |tradition|.|"',
    '"|The| |start',
    'my| |life|"|,| |said| |he',
    'the| |"|open| |end',
    "“|a|”| |and| |‘|b|’| |and| |«|c|»",
    "„|a|“| |and| |„|b|”| |and| |»|c|«| |and| |”|d|”",
    "“|a| |‘|b|’| |c|”",
    "``|a|''| |b",
    "'|a| |word|'| |there",
    "¿|Qué|?| |¡|Sí|!",
    # clitics
    "it|'s| |do|n't| |we|’re| |the| |dogs|'| |bowl",
    "it|'|s| |Bob|'|s| |l|'|eau",
    "l'|eau| |qu’|elle| |dell'|arte| |d'|Artagnan",
    "get| |'em| |all",
    "Ankara|'da| |yaşar",
    # numbers and signs
    "50|%| |of| |$|20| |or| |20| |€",
    "20|°C| |at| |#|15| |by| |@|ann",
    "10|:|30| |on| |2|/|8|/|1935| |or| |2018|-|02|-|24",
    "call| |01|.|84|.|17| |at| |1914|–|1918",
    "ratio|:| |3| |and| |he|/|she| |-| |yes",
    "not| |$| |alone| |@| |#",
    # scripts without spaces
    "他|住|在|北京|。|DHL|大厦|3|楼",
    "New| |York|在|美国|，|（|Ohio|）|是|州",
    "東京|タワー|へ|行く|「|は|」",
    "ทั้ง| |3| |ราย|น.พ.|จรัล|กล่าว| |DHL| |ไทย",
    "เขา| |(|ไทย|)| |10|%",
    "ຂ້ອຍ|ຢູ່|ລາວ",
    "ខ្ញុំ|នៅ|ភ្នំពេញ|។",
    "ကျွန်တော်|က|၊",
    # spaces that are tokens stay alone
    "ไทย|\N{SPACE}\N{SPACE}|ลาว",
    # Korean, Cyrillic, Arabic, Hindi
    "서울에| |산다|.",
    "дом| |11А|,| |Москва",
    "نعم|،| |لا|؟",
    "यह| |घर| |है|।",
]


@pytest.mark.parametrize("text", TEXTS)
def test_spaces_are_told_from_tokens(text: str) -> None:
    tokens = [token for token in text.split("|") if token != " "]
    assert join(tokens) == text.replace("|", "")


@pytest.mark.parametrize("tokens", [[], ["a"], ["。"], [" "], ['"'], ["a", " ", "b"]])
def test_there_is_no_space_at_the_end_nor_beside_a_space(tokens: list[str]) -> None:
    assert not any(spaces_after(tokens))


@given(st.lists(st.text(min_size=1, max_size=4), max_size=12))
def test_any_tokens_are_joined_by_single_spaces_or_none(tokens: list[str]) -> None:
    assert join(tokens).replace(" ", "") == "".join(tokens).replace(" ", "")


@given(st.lists(st.sampled_from("\"'“”„’«»‘‚‹›a.,"), max_size=12))
def test_no_arrangement_of_quotes_fails(tokens: list[str]) -> None:
    assert join(tokens).replace(" ", "") == "".join(tokens)
