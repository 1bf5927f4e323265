"""Fuzz the readers: whatever is in a file, nothing but a `UserError` may come.

    pip install atheris
    python tests/fuzz.py -max_total_time=600 FOLDER_OF_FINDS

Not a part of the suite. The hostile files of test_hostile.py are the seeds. What is
read must come out again as CoNLL and as a record, and their entities be the same.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["retainer"]):
    from retainer.conll import read_conll
    from retainer.corpus import blank_pipeline, read_docs
    from retainer.errors import UserError
    from retainer.export import write_conll
    from retainer.faults import FileLog
    from retainer.formats import STYLES, to_record

from test_hostile import CASES

NLP = blank_pipeline("xx")
SUFFIXES = (".conll", ".jsonl", ".json")
FOLDER = Path(tempfile.mkdtemp())


def check(data: bytes) -> None:
    """The first byte of the data chooses the suffix."""
    suffix = SUFFIXES[data[0] % len(SUFFIXES)] if data else SUFFIXES[0]
    path = FOLDER / f"fuzzed{suffix}"
    path.write_bytes(data[1:])
    log = FileLog(str(path))
    try:
        docs = list(read_docs(path, NLP, log=log))
    except UserError:
        return
    list(map(str, log.faults))
    for doc in docs:
        for style in STYLES:
            to_record(doc, style)
    written = FOLDER / "written.conll"
    write_conll(docs, written, FileLog("written"))
    if all(token.ent_iob == 0 for doc in docs for token in doc):
        return  # no annotation is left, which the reader refuses
    again = [sentence.tokens for sentence in read_conll(written)]
    if len(again) != sum(any(not t.is_space for t in doc) for doc in docs):
        assert any(doc.user_data.get("words") for doc in docs), "sentences were lost"


if __name__ == "__main__":
    seeds = FOLDER / "seeds"
    seeds.mkdir()
    for case_i, (name, case) in enumerate(CASES.items()):
        data = case.data.encode() if isinstance(case.data, str) else case.data
        index = next((i for i, s in enumerate(SUFFIXES) if name.endswith(s)), 0)
        (seeds / str(case_i)).write_bytes(bytes([index]) + data)
    atheris.Setup([*sys.argv, str(seeds)], check)
    atheris.Fuzz()
