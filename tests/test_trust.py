"""What is read may have been made by somebody who means ill."""

import io
import json
import pickle
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import spacy
import srsly
from conftest import SENTENCES, add_ner
from spacy.language import Language
from test_checkpoint import edit_config
from test_page import EVIL
from test_report_page import report  # noqa: F401

from retainer import checkpoint as ck
from retainer.annotate import annotate
from retainer.convert import convert
from retainer.errors import UserError
from retainer.formats import STYLES
from retainer.markdown import to_markdown
from retainer.partfile import PartFile
from retainer.texts import Text

LINES = "Ann\tB-PER\nLi\tI-PER\nleft\tO\n"
CODE = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
from transformers import XLMRobertaConfig as Config
from transformers import XLMRobertaForTokenClassification as Model
from transformers import XLMRobertaTokenizerFast as Tokenizer
"""
AUTO_MAP = {
    "AutoConfig": "code.Config",
    "AutoModelForTokenClassification": "code.Model",
    "AutoTokenizer": ["code.Tokenizer", "code.Tokenizer"],
}
unpickled: list[str] = []
sys.addaudithook(
    lambda event, args: unpickled.append(args) if event == "pickle.find_class" else None
)


@pytest.mark.parametrize("model_type", ["xlm-roberta", "of-their-own"])
def test_code_of_a_checkpoint_is_not_run(checkpoint, tmp_path, model_type) -> None:
    made = tmp_path / "made"
    edit_config(checkpoint, made, auto_map=AUTO_MAP, model_type=model_type)
    settings = json.loads((made / "tokenizer_config.json").read_text())
    settings |= {"auto_map": AUTO_MAP, "tokenizer_class": "Tokenizer"}
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    (made / "code.py").write_text(CODE)
    with pytest.raises(UserError, match="expected at '.*made', but it cannot be read"):
        ck.load_checkpoint(str(made))
    settings |= {"tokenizer_class": "XLMRobertaTokenizerFast"}
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    if model_type == "xlm-roberta":
        ck.load_checkpoint(str(made))
    assert not (made / "ran").exists()


def test_nothing_is_unpickled(nlp_blank: Language, checkpoint, tmp_path: Path) -> None:
    """By an event that Python tells of before a pickle gets hold of any code."""
    pickle.loads(pickle.dumps(Path()))
    assert unpickled
    unpickled.clear()
    add_ner(nlp_blank, checkpoint)
    nlp_blank.initialize()
    nlp_blank.to_disk(tmp_path / "a")
    spacy.load(tmp_path / "a").from_bytes(nlp_blank.to_bytes())
    assert not unpickled


def test_a_dataset_with_code_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    made = tmp_path / "made"
    made.mkdir()
    (made / "made.py").write_text(CODE)
    with pytest.raises(UserError, match="A dataset was expected at 'hf:.*made'"):
        convert([Path(f"hf:{made}")], tmp_path / "out.spacy")
    assert not (made / "ran").exists()


def pack_zip(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, LINES)
    return stream.getvalue()


def pack_tar(name: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(LINES)
        archive.addfile(info, io.BytesIO(LINES.encode()))
    return stream.getvalue()


def pack_record(name: str) -> bytes:
    span = {"start": 0, "end": 6, "label": name}
    names = {"meta": {"source": name}, "file": name, "id": name, "path": name}
    return json.dumps({"text": "Ann Li left", "spans": [span], **names}).encode()


FILES = {
    "zip.conll.zip": (pack_zip, True),
    "tar.conll.gz": (pack_tar, False),
    "record.jsonl": (pack_record, True),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("climb", ["../../escaped", "{}/escaped"])
@pytest.mark.parametrize("output", ["out.spacy", "out.conll", "out.jsonl"])
def test_names_within_data_are_no_paths(tmp_path, kind, climb, output) -> None:
    pack, is_read = FILES[kind]
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / kind).write_bytes(pack(climb.format(tmp_path)))
    try:
        convert([folder / kind], folder / output)
    except UserError:
        assert not is_read
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files == ({kind, output} if is_read else {kind})


def test_names_within_bytes_are_no_paths(nlp_blank, checkpoint, tmp_path) -> None:
    shim = add_ner(nlp_blank, checkpoint).model.shims[0]
    nlp_blank.initialize()
    files = srsly.msgpack_loads(shim.to_bytes())
    escaped = tmp_path / "escaped"
    shim.from_bytes(srsly.msgpack_dumps(files | {str(escaped): b"x"}))
    assert not escaped.exists()


def test_names_within_checksums_are_no_paths(checkpoint, tmp_path) -> None:
    """Or a file that never ends could be named."""
    made = shutil.copytree(checkpoint, tmp_path / "made")
    (made / "checksums.json").write_text('{"/dev/zero": "00000000"}')
    with pytest.raises(UserError, match="made/zero' was expected .* it is missing"):
        ck.load_checkpoint(str(made))


def test_text_in_markdown_is_no_code(report) -> None:  # noqa: F811
    text = to_markdown(report)
    assert "<script" not in text.lower()
    assert text.count("&lt;script>") > 15


def test_markdown_asks_nothing_of_a_network(report) -> None:  # noqa: F811
    example = report["examples"][0]
    image = "![](http://x)"
    example = {**example, "text": example["text"] + image}
    text = to_markdown({**report, "examples": [example]})
    assert image not in text
    assert "![]&#40;http://x)" in text


@pytest.mark.parametrize("text", [EVIL, f"Anna {EVIL}\n}}\n{{", "a\u2028b\x85c\0"])
def test_a_record_is_one_line_and_holds_the_text(
    nlp_blank, checkpoint, tmp_path, text
) -> None:
    add_ner(nlp_blank, checkpoint)
    nlp_blank.initialize()
    output = tmp_path / "out.jsonl"
    with PartFile(output, {}).open(False) as part:
        texts = [Text(text, {EVIL: text}), Text(SENTENCES[0])]
        list(annotate(nlp_blank, texts, part, STYLES[0]))
    lines = output.read_bytes().removesuffix(b"\n").split(b"\n")
    assert [json.loads(line)["text"] for line in lines] == [text, SENTENCES[0]]
