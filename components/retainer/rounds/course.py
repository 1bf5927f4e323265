"""The folder of a course of rounds: what is in it, and what of it still holds."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import srsly
from thinc.api import Config

from ..ablation.settings import put, read_config, resolve_decoder
from ..ablation.store import content_hash
from ..checkpoint import load_config, tags_of
from ..decoding import Decoder
from ..errors import UserError
from ..files import write_text
from ..labels import check_unique, entity_types

CONFIG, PIPELINE = "config.cfg", "pipeline"
TRAINED, RESULT = "trained.json", "result.json"
LEARNT_FROM, SCORED_ON = ("train", "dev", "replay"), ("old", "test")
# What a round itself sets, and no setting can.
OWN = ("paths.train", "paths.dev", "paths.base", "paths.replay")
Result = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """The first of a course has number 0, the types of the base and no training."""

    number: int
    types: tuple[str, ...]

    @property
    def name(self) -> str:
        """Example: "2-PHONE+FACILITY" """
        return f"{self.number}-{'+'.join(self.types)}" if self.number else "0-base"


class Course:
    """OUTPUT/NUMBER-TYPES/{pipeline,trained.json,result.json} and OUTPUT/corpora.

    base: a checkpoint, or a pipeline. new_types: those of each round. files: by part,
    train, dev, test, old and replay; of the last, at most one. settings: values of the
    config by dotted key.
    """

    def __init__(
        self,
        config: str,
        base: str,
        new_types: Sequence[Sequence[str]],
        files: Mapping[str, Sequence[Path]],
        output: Path,
        settings: Mapping[str, Any],
    ):
        self.base, self.files, self.output = base, files, output
        for path in files["replay"]:
            if not path.exists():
                raise UserError(
                    f"Texts to replay were expected at '{path}', but nothing is there. "
                    "Correct --replay."
                )
        self._config = read_config(config)
        for key, value in settings.items():
            if key in OWN:
                raise UserError(
                    f"Settings other than {', '.join(OWN)} were expected in --set, but "
                    f"there is '{key}', which each round sets. Take it out."
                )
            put(self._config, key, value, "--set")
        old_types = entity_types(tags_of(load_config(base, self.revision)))
        check_unique(
            [*old_types, *(kind for types in new_types for kind in types)],
            "the base's types and those of --round",
        )
        self.rounds = [Round(0, tuple(old_types))]
        self.rounds += [Round(i, tuple(x)) for i, x in enumerate(new_types, start=1)]
        self._hash = cache(content_hash)
        self._digests: dict[Round, str] = {}
        for one in self.rounds:  # each looks at the one before
            self._digests[one] = self._digest(one)
        self._scored_on = self._hash_parts(SCORED_ON)

    @property
    def revision(self) -> str | None:
        """Of a base on the hub."""
        return self._config["paths"].get("revision")

    @property
    def decoder(self) -> Decoder:
        """The base's, as the rounds'."""
        return resolve_decoder(self._config)

    def folder(self, one: Round) -> Path:
        return self.output / one.name

    def pipeline(self, one: Round) -> str:
        return str(self.folder(one) / PIPELINE) if one.number else self.base

    def corpus(self, one: Round, part: str) -> Path:
        return self.output / "corpora" / f"{one.name}-{part}.spacy"

    def prepare(self, one: Round, folder: Path) -> Path:
        """Write the config: base and teacher are the round before. RETURNS: folder."""
        config = Config(self._config).copy()
        paths = {part: str(self.corpus(one, part)) for part in ("train", "dev")}
        paths["base"] = self.pipeline(self.rounds[one.number - 1])
        paths["replay"] = next(map(str, self.files["replay"]), None)
        for key, value in paths.items():
            put(config, f"paths.{key}", value, "the rounds")
        write_text(config.to_str(interpolate=False) + "\n", folder / CONFIG)
        return folder

    def is_trained(self, one: Round) -> bool:
        """As the config, the files and the rounds before now are."""
        if not one.number:
            return True
        path = self.folder(one) / TRAINED
        return path.is_file() and srsly.read_json(path) == self._digests[one]

    def mark_trained(self, one: Round, folder: Path) -> None:
        write_text(json.dumps(self._digests[one]) + "\n", folder / TRAINED)

    def write(self, one: Round, f1: Mapping[str, float | None]) -> Result:
        """f1: by type. RETURNS: what `results` will give."""
        marks = {"trained": self._digests[one], "scored_on": self._scored_on}
        result = {"types": list(one.types), "f1": dict(f1), **marks}
        text = json.dumps(result, indent=2) + "\n"
        write_text(text, self.folder(one) / RESULT)
        return result

    def result(self, one: Round) -> Result | None:
        path = self.folder(one) / RESULT
        result = srsly.read_json(path) if path.is_file() else {}
        marks = result.get("trained"), result.get("scored_on")
        is_valid = marks == (self._digests[one], self._scored_on)
        return result if is_valid and self.is_trained(one) else None

    def results(self) -> list[Result]:
        """Of the rounds that are done, up to the first that is not."""
        found = []
        for one in self.rounds:
            result = self.result(one)
            if result is None:
                break
            found.append(result)
        return found

    def _digest(self, one: Round) -> str:
        """Of all that makes a round what it is, but for the code."""
        if not one.number:
            base = Path(self.base)
            return self._hash(base) if base.is_dir() else self.base
        parts = {
            "before": self._digests[self.rounds[one.number - 1]],
            "config": self._config.to_str(interpolate=False),
            "files": self._hash_parts(LEARNT_FROM),
            "types": one.types,
            "n_rounds": len(self.rounds),
        }
        return _digest_of(parts)

    def _hash_parts(self, parts: Sequence[str]) -> str:
        return _digest_of(
            [
                [part, file.name, self._hash(file)]
                for part in parts
                for file in self.files[part]
            ]
        )


def _digest_of(data: Any) -> str:
    return hashlib.sha256(json.dumps(data).encode()).hexdigest()


def parse_rounds(texts: Sequence[str]) -> list[list[str]]:
    """Example: ["COURIER", "PHONE, FAX"] -> [["COURIER"], ["PHONE", "FAX"]]"""
    rounds = [[kind.strip() for kind in text.split(",")] for text in texts]
    for text, types in zip(texts, rounds, strict=True):
        if not all(types):
            raise UserError(
                "Entity types with commas between them were expected in --round, but "
                f"it is '{text}'. Correct it."
            )
    return rounds


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """Values are JSON or text. Example: ["a.b=1", "c=x"] -> {"a.b": 1, "c": "x"}"""
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UserError(
                "A setting such as training.max_epochs=5 was expected in --set, but it "
                f"is '{text}'. Correct it."
            )
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return settings
