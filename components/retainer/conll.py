"""CoNLL text: one token and its tag a line, a blank line between sentences.

Lines end at LF or CRLF and nowhere else, columns at TABs or spaces and nowhere else:
a no-break space, U+3000 and U+2028 belong to the token that holds them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .columns import DOCSTART, NO_SPACE, is_break, split_line
from .errors import UserError
from .faults import FileLog
from .files import read_lines
from .labels import OUTSIDE
from .layout import Layout, ReadOptions, find_layout
from .schemes import MISSING, TagReader

HEADER = re.compile(r"(?:tokens?|words?|form|text|tags?|labels?|ner(?:_tags?)?)", re.I)
TEXT_COMMENT = re.compile(r"#\s*text\s*=\s*(.*\S)\s*")
RANGE = re.compile(r"(\d+)-(\d+)")


@dataclass
class Sentence:
    """tags: MISSING where nothing is known. lines: where each token stands, from 1.

    spaces: whether each token has a space behind it, text: the text itself; None where
    the file does not say.
    """

    tokens: list[str]
    tags: list[str]
    path: str
    lines: list[int]
    spaces: list[bool] | None = None
    text: str | None = None

    def add(self, token: str, tag: str, line_i: int, has_space: bool = True) -> None:
        self.tokens.append(token)
        self.tags.append(tag)
        self.lines.append(line_i)
        if self.spaces is not None:
            self.spaces.append(has_space)


def read_conll(
    path: Path, options: ReadOptions | None = None, log: FileLog | None = None
) -> Iterator[Sentence]:
    """The sentences of a file, in whatever layout. See `layout` and `faults`.

    log: is told the layout, and all that was wrong.
    """
    options, log = options or ReadOptions(), log or FileLog(str(path))

    def lines() -> Iterator[str]:
        return read_lines(path, options.encoding)

    layout = find_layout(lines, log.path, options)
    n_sentences = 0
    if layout is not None:
        log.layout = str(layout)
        reader = _Reader(layout, log)
        for sentence in reader.read(lines()):
            n_sentences += 1
            yield sentence
        n_empty = sum(fault.kind == "empty token" for fault in log.faults)
        log.check_share(reader.n_tokens + n_empty, "lines")
    if n_sentences == 0:
        raise UserError(
            f"Lines 'TOKEN<TAB>TAG' were expected in '{path}', but the file holds no "
            "sentence. Fill it, or leave it out."
        )


class _Reader:
    """Reads the lines of one file, whose layout is known, one after the other."""

    def __init__(self, layout: Layout, log: FileLog):
        self.layout, self.log = layout, log
        self.n_tokens = 0
        self.covered_until = -1  # the last word inside a multiword token of CoNLL-U
        self.tags = TagReader(layout.scheme, log)
        self.sentence = self._new_sentence()

    def _new_sentence(self) -> Sentence:
        spaces = None if self.layout.spacing is None else []
        return Sentence([], [], self.log.path, [], spaces)

    def read(self, lines: Iterable[str]) -> Iterator[Sentence]:
        """The first branch is for all lines of most files, and is there for speed."""
        separator, width = self.layout.separator, self.layout.width
        token_i, tag_i, tags = self.layout.token, self.layout.tag, self.layout.tags
        is_simple = False  # the first line may be a header
        for line_i, line in enumerate(lines, start=1):
            cells = line.split(separator)
            if is_simple and len(cells) == width and cells[tag_i] in tags:
                token = cells[token_i]
                if token and line[0] not in "#-":
                    self.sentence.add(token, cells[tag_i], line_i)
                    continue
            if not is_break(line):
                self._read_line(line, line_i)
                is_simple = self.layout.is_simple
                continue
            self.log.skipped["-DOCSTART- lines"] += line.startswith(DOCSTART)
            yield from self._end()
        yield from self._end()

    def _end(self) -> Iterator[Sentence]:
        sentence, self.sentence = self.sentence, self._new_sentence()
        self.covered_until = -1
        if not sentence.tokens:
            return
        sentence.tags = self.tags.read(sentence.tags, sentence.lines)
        if sentence.text and find_words(sentence.text, sentence.tokens) is None:
            detail = repr(sentence.text[:40])
            self.log.add("text and tokens differ", sentence.lines[0], detail)
            sentence.text = None
        self.n_tokens += len(sentence.tokens)
        yield sentence

    def _read_line(self, line: str, line_i: int) -> None:
        layout = self.layout
        cells = split_line(line, layout.separator)
        if line[0] == "#" and not self._is_token(cells):
            self.log.skipped["comment lines"] += 1
            match = TEXT_COMMENT.fullmatch(line)
            self.sentence.text = match[1] if match else self.sentence.text
            return
        cells = self._fit(cells, line, line_i)
        is_first = not self.n_tokens and not self.sentence.tokens
        names = cells[layout.token], cells[layout.tag].strip()
        if is_first and all(map(HEADER.fullmatch, names)):
            self.log.add("header", line_i, repr(line[:80]))
        elif not self._is_surface(cells, line_i):
            pass
        elif not cells[layout.token]:
            self.log.add("empty token", line_i, repr(line[:80]))
        else:
            token, tag = cells[layout.token], cells[layout.tag].strip()
            touches_next = layout.spacing is not None and NO_SPACE.search(
                cells[layout.spacing]
            )
            tag = self._read_tag(tag, token, line_i)
            self.sentence.add(token, tag, line_i, not touches_next)

    def _is_token(self, cells: Sequence[str]) -> bool:
        """Whether a line that begins with # has the columns of a token."""
        is_fitting = len(cells) == self.layout.width
        is_tab = self.layout.separator == "\t"
        return is_fitting and (is_tab or self.layout.is_tag(cells[self.layout.tag]))

    def _fit(self, cells: list[str], line: str, line_i: int) -> list[str]:
        """The cells of a line as if it had as many columns as the others."""
        width, tag_i, is_tag = self.layout.width, self.layout.tag, self.layout.is_tag
        while len(cells) > width and not cells[-1].strip():
            cells = cells[:-1]
        if len(cells) == width:
            return cells
        shown = repr(line[:80])
        at_spaces = split_line(line, " ")
        if len(cells) == 1 and len(at_spaces) == width and is_tag(at_spaces[tag_i]):
            self.log.add("other separator", line_i, shown)
            return at_spaces
        if len(cells) == 1 and self.layout.separator == " " and is_tag(cells[0]):
            return [OUTSIDE if i == tag_i else "" for i in range(width)]
        if width == 2 < len(cells) and is_tag(tag := cells[-tag_i].strip()):
            rest = cells[:-1] if tag_i else cells[1:]
            self.log.add("spaces in a token", line_i, shown)
            return [" ".join(rest), tag] if tag_i else [tag, " ".join(rest)]
        if len(cells) > tag_i and is_tag(cells[tag_i].strip()):
            self.log.add("other columns", line_i, shown)
            return cells + [""] * (width - len(cells))
        self.log.add("missing tag", line_i, shown)
        fitted = (cells + [""] * width)[:width]
        fitted[self.layout.token] = fitted[self.layout.token] or cells[0]
        fitted[tag_i] = MISSING
        return fitted

    def _is_surface(self, cells: Sequence[str], line_i: int) -> bool:
        """Whether a line is a part of the text.

        In CoNLL-U, line 3-4 is the word as it is written, and the lines 3 and 4 are
        what it consists of: it takes the first of their tags that is not O. Line 5.1
        is an ellipsis.
        """
        if self.layout.index is None or not self.layout.has_ranges:
            return True
        index = cells[self.layout.index]
        if match := RANGE.fullmatch(index):
            self.covered_until = int(match[2])
            tag = cells[self.layout.tag].strip()
            cells[self.layout.tag] = tag if self.layout.is_tag(tag) else OUTSIDE
            return True
        if not index.isdigit():
            self.log.skipped["empty nodes"] += 1
            return False
        if int(index) > self.covered_until or not self.sentence.tokens:
            return True
        self.log.skipped["words inside a multiword token"] += 1
        tag = self._read_tag(cells[self.layout.tag].strip(), index, line_i)
        if self.sentence.tags[-1] == OUTSIDE:
            self.sentence.tags[-1] = tag
        elif tag.startswith("B-"):
            detail = f"{self.sentence.tags[-1]} and {tag}"
            self.log.add("two entities in one token", line_i, detail)
        return False

    def _read_tag(self, tag: str, token: str, line_i: int) -> str:
        if tag == MISSING:
            return tag
        if not self.layout.is_tag(tag):
            detail = f"{tag!r} of the token {token[:40]!r}"
            self.log.add("unreadable tag", line_i, detail)
            return MISSING
        return tag


def find_words(text: str, words: Sequence[str]) -> list[tuple[int, int]] | None:
    """Where each word stands in a text that consists of them and white space.

    RETURNS: its first character and that behind its last; None if they differ.
    Example: "to  DHL.", ["to", "DHL", "."] -> [(0, 2), (4, 7), (7, 8)]
    """
    bounds, end = [], 0
    for word in words:
        start = text.find(word, end)
        if start < 0 or text[end:start].strip():
            return None
        end = start + len(word)
        bounds.append((start, end))
    return None if text[end:].strip() else bounds


def format_sentence(tokens: Sequence[str], tags: Sequence[str]) -> str:
    """Example: ["Ann", "left"], ["B-PER", "O"] -> "Ann\\tB-PER\\nleft\\tO\\n\\n" """
    pairs = zip(tokens, tags, strict=True)
    return "".join(f"{token}\t{tag}\n" for token, tag in pairs) + "\n"
