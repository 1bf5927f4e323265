"""All rounds of a course that are not done: trained and scored one after the other."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from spacy.language import Language
from spacy.tokens import Doc

from ..ablation.store import N_LOG_LINES
from ..ablation.training import LOG, PIPELINES, train_all
from ..errors import UserError
from ..folders import replacing_folder
from ..pipelines import Track, load_student, load_teacher, predict
from ..report import count, points
from .corpora import read_files, write_corpora
from .course import PIPELINE, Course, Result, Round


def run_rounds(course: Course, track: Track) -> Iterator[Result]:
    """Of each round that is not done, when it is. Close what it returns.

    track: see `retainer.report`.
    """
    todo = course.rounds[len(course.results()) :]
    to_train = [one for one in todo if not course.is_trained(one)]
    if to_train:
        write_corpora(course, to_train)
    domains = {part: read_files(course.files[part]) for part in ("old", "test")}
    for one in todo:
        if one in to_train:
            train(course, one)
        yield course.write(one, score(course, one, domains, track))


def train(course: Course, one: Round) -> None:
    """Write the round's folder: the whole of it or, when anything fails, nothing."""
    with replacing_folder(course.folder(one)) as made:
        made.mkdir()
        runs = train_all([one], lambda one: course.prepare(one, made), jobs=1)
        with closing(runs) as trained:
            ((_, status),) = trained
        if status:
            raise UserError(
                f"A training that ends well was expected in round {one.number}, but it "
                f"ended with {status}. It goes on from here next time. The end of its "
                f"log:\n{end_of(made / LOG)}"
            )
        (made / PIPELINES / "model-best").rename(made / PIPELINE)
        shutil.rmtree(made / PIPELINES)
        course.mark_trained(one, made)


def end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    return "\n".join([x.rstrip() for x in lines if x.strip()][-N_LOG_LINES:])


def score(
    course: Course, one: Round, domains: dict[str, list[Doc]], track: Track
) -> dict[str, float | None]:
    """F1 in points by type that the round knows: the base's types in the old domain,
    where the base is to stay good, all others in the new."""
    nlp: Language = (
        load_student(course.pipeline(one))
        if one.number
        else load_teacher(course.base, course.revision, course.decoder)
    )
    counts = {
        part: count(predict(nlp, docs, track), docs) for part, docs in domains.items()
    }
    return {
        kind: points(counts["test" if learnt.number else "old"], [kind])
        for learnt in course.rounds[: one.number + 1]
        for kind in learnt.types
    }
