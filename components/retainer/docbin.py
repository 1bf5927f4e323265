"""Files of Docs, as spaCy has them."""

import zlib
from collections.abc import Iterable
from pathlib import Path

import srsly
from spacy.attrs import ORTH, SPACY
from spacy.tokens import Doc, DocBin

from .errors import UserError
from .files import replacing

# What a converted Doc has, and a .spacy file of such Docs keeps.
ATTRS = ("ORTH", "ENT_IOB", "ENT_TYPE")


def read_bin(path: Path) -> DocBin:
    try:
        return DocBin().from_disk(path)
    except OSError as error:
        reason = error.strerror
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        reason = f"it is no such file ({error})"
    raise UserError(
        f"Documents saved by spaCy were expected in '{path}', but it cannot be read: "
        f"{reason}. Make it with scripts/convert.py, or correct the path."
    )


def write_docs(docs: Iterable[Doc], path: Path, *, is_plain: bool = False) -> None:
    """Write a .spacy file: the whole of it or, when anything fails, nothing.

    is_plain: the Docs have nothing but what `make_doc` gives them, so that the rest
        need not be looked at; most of the time goes into that otherwise.
    """
    doc_bin = DocBin(store_user_data=True)
    if is_plain:
        doc_bin = DocBin(attrs=ATTRS, store_user_data=True)
        add_plain(doc_bin, docs)
    else:
        for doc in docs:
            doc_bin.add(doc)
    with replacing(path) as unfinished:
        doc_bin.to_disk(unfinished)


def add_plain(doc_bin: DocBin, docs: Iterable[Doc]) -> None:
    """`DocBin.add` for each Doc, without the strings of nine attributes a token.

    And without `srsly.msgpack_dumps`, which asks all installed packages for encoders
    at each call.
    """
    orths: set[int] = set()
    pack = srsly.msgpack.Packer(use_bin_type=True).pack  # as `srsly.msgpack_dumps`
    for doc in docs:
        array = doc.to_array(doc_bin.attrs)
        doc_bin.tokens.append(array)
        doc_bin.spaces.append(doc.to_array([SPACY]).astype(bool).reshape(-1, 1))
        doc_bin.flags.append({"has_unknown_spaces": doc.has_unknown_spaces})
        doc_bin.cats.append(doc.cats)
        doc_bin.user_data.append(pack(doc.user_data))
        doc_bin.span_groups.append(doc.spans.to_bytes())
        doc_bin.strings.update(ent.label_ for ent in doc.ents)
        orths.update(array[:, doc_bin.attrs.index(ORTH)].tolist())
    if doc_bin.tokens:
        doc_bin.strings.update(doc.vocab.strings[orth] for orth in orths)


def ent_places(doc: Doc) -> list[str]:
    """Where each entity stands in the file that its Doc was made of, "file:line".

    The place of the Doc where its entities are others by now; "" if it is unknown.
    """
    source = str(doc.user_data.get("source", ""))
    lines = doc.user_data.get("ent_lines", ())
    if not source or len(lines) != len(doc.ents):
        return [source] * len(doc.ents)
    return [f"{source.rpartition(':')[0]}:{line}" for line in lines]
