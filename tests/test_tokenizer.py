import pytest
import regex
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language

from retainer.corpus import blank_pipeline
from retainer.tokenizer import BLOCKS

NLP = blank_pipeline("xx")
PLAIN = spacy.blank("xx")

# What a writer of these scripts strings together: letters, vowel signs, marks, digits.
ALPHABETS = {
    "thai": "กขงดตนปมรวสอฤะ\u0e31า\u0e33\u0e34\u0e38\u0e47\u0e48\u0e49\u0e4cเแโไๆฯ",
    "lao": "ກຂງຈດຕນບປມວອະ\u0eb1າ\u0eb3\u0eb4\u0eb8\u0ebb\u0ebc\u0ec8\u0ec9ເແໂໄໆ",
    "khmer": "កខងចដតនបមរលសអ\u17b6\u17b7\u17bb\u17c1\u17c6\u17c9។៕",
    "burmese": "ကခငစညတနပမရလဝသအ\u102d\u102f\u1031\u1032\u1037\u103a\u103b။၊",
    "han": "他住在北京上海張三〇々，。、；：？！「」（）《》",
    "kana": "あいがぱんっゃゝアイガパンー・ｱｶﾊﾝ\uff9e\uff9f\u3099\u309a",
}


def words(text: str, nlp: Language = NLP) -> list[str]:
    return [token.text for token in nlp.make_doc(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("他住在DHL大厦。", "他 住 在 DHL 大 厦 。"),
        ("张三，电话13800138000", "张 三 ， 电 话 13800138000"),
        ("１２号楼Ａ座", "１２ 号 楼 Ａ 座"),
        ("東京タワーへ行く", "東 京 タ ワ ー へ 行 く"),
        ("ﾊﾟﾝｶﾞｲｲ", "ﾊﾟ ﾝ ｶﾞ ｲ ｲ"),
        ("ที่นี่ทำ", "ที่ นี่ ทำ"),
        ("เวลา ๑๐.๓๐ น.", "เ ว ล า ๑๐.๓๐ น ."),
        ("ຢູ່ນ້ຳ", "ຢູ່ ນ້ຳ"),
        ("ភ្នំពេញ", "ភ្នំ ពេ ញ"),
        ("မန္တလေး", "မ န္တ လေး"),
        ("葛\U000e0100飾", "葛\U000e0100 飾"),
        ("서울에 산다.", "서울에 산다 ."),
        ("Mail a.b@c.de, now!", "Mail a.b@c.de , now !"),
        ("见 https://a.cn/b?c=1 好", "见 https://a.cn/b?c=1 好"),
        ("访问www.a.cn查", "访 问 www.a.cn 查"),
        ("见https://a.cn/b?c=1&d=2，好", "见 https://a.cn/b?c=1&d=2 ， 好"),
        ("ดูhttp://a.co.th/ข่าว", "ดู http://a.co.th/ ข่ า ว"),
        ("网址：WWW.A.CN/x-y/。", "网 址 ： WWW.A.CN/x-y/ 。"),
        ("see:https://a.b/c/d_e.", "see : https://a.b/c/d_e ."),
        ("邮箱a.b@c.cn收", "邮 箱 a.b@c.cn 收"),
        ("Tel. +49-30-1234567.", "Tel . +49 - 30 - 1234567 ."),
        ("L'Oréal don't", "L'Oréal don't"),
        ("", ""),
    ],
)
def test_text_is_cut_into(text: str, expected: str) -> None:
    assert words(text) == (
        expected.split(" ") if expected.strip() else [text] * bool(text)
    )


@pytest.mark.parametrize("script", ALPHABETS)
def test_scripts_without_spaces_are_cut_at_grapheme_clusters(script: str) -> None:
    @settings(max_examples=200, deadline=None)
    @given(st.text(ALPHABETS[script], min_size=1, max_size=12))
    def check(text: str) -> None:
        assert words(text) == regex.findall(r"\X", text)

    check()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_restored(text: str) -> None:
    assert NLP.make_doc(text).text == text


@settings(max_examples=200, deadline=None)
@given(st.text("ab1.-@/:' \u3000\u00a0\u200d。北ก\u0e33\u0e48ア", max_size=40))
def test_mixed_text_is_restored(text: str) -> None:
    assert NLP.make_doc(text).text == text


@settings(max_examples=200, deadline=None)
@given(st.text("ab1.-@/:'  北京。東ア", max_size=40))
def test_han_and_kana_always_stand_alone(text: str) -> None:
    assert not [
        word for word in words(text) if len(word) > 1 and set(word) & set("北京。東ア")
    ]


@settings(max_examples=100, deadline=None)
@given(st.text("ab1.,-@/:'()%$é ", max_size=40))
def test_text_of_other_scripts_is_cut_as_spacy_cuts_it(text: str) -> None:
    assert words(text) == words(text, PLAIN)


TEXT = "他住在北京ที่นี่ https://a.cn/b。"


def test_bytes_and_disk_keep_the_cuts(tmp_path) -> None:
    other = spacy.blank("xx")
    assert words(TEXT, other) != words(TEXT)
    other.tokenizer.from_bytes(NLP.tokenizer.to_bytes())
    assert words(TEXT, other) == words(TEXT)
    NLP.to_disk(tmp_path / "nlp")
    assert words(TEXT, spacy.load(tmp_path / "nlp")) == words(TEXT)


@pytest.mark.parametrize("lang", ["en", "zh", "th", "ja", "ru", "vi"])
def test_every_language_takes_the_tokenizer(lang: str) -> None:
    assert words("北京ที่นี่", blank_pipeline(lang)) == ["北", "京", "ที่", "นี่"]


def test_blocks_are_disjoint_and_sorted() -> None:
    bounds = [bound for block in BLOCKS for bound in block]
    assert bounds == sorted(bounds)
