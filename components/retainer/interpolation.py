"""Weights between a student's and its teacher's: a choice after training, none of it.

theta = (1 - weight) * student + weight * teacher, for all that both have by name: the
WiSE-FT of Wortsman et al. 2022 (eq. 1). A row of the head goes by its tag.
"""

import copy
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Any

import torch
from spacy.language import Language
from spacy.tokens import Doc

from .checkpoint import find_head, tags_of
from .errors import UserError
from .inspection.tables import format_table
from .pipelines import Track, predict
from .report import Counts, count, merge, points
from .teacher import check_teacher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Tensors = dict[str, torch.Tensor]
Files = Mapping[str, Sequence[Doc]]  # the references of each, by its name
CountsByFile = dict[str, Counts]
ByFile = dict[str, float | None]  # F1 in points
Row = dict[str, Any]
COMPONENT = "transformer_ner"
HEADER = ("weight", "new F1", "old F1", "lost", "worst file", "harmonic mean")


@dataclass(frozen=True)
class Weights:
    """tensors: all of a token classifier's by name. They are the module's own, no
    copies. head: the name of its last layer. tags: of the rows of that."""

    tensors: Tensors
    head: str
    tags: list[str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of all tensors, but for the number of the head's rows."""
        pairs = self.tensors.items()
        return {name: tuple(x.shape)[self.has_rows(name) :] for name, x in pairs}

    def has_rows(self, name: str) -> bool:
        return name.rpartition(".")[0] == self.head


def get_module(nlp: Language) -> "PreTrainedModel":
    return nlp.get_pipe(COMPONENT).model.shims[0].module


def weights_of(module: "PreTrainedModel") -> Weights:
    parent, leaf = find_head(module)
    head = getattr(parent, leaf)
    name = next(name for name, layer in module.named_modules() if layer is head)
    return Weights(module.state_dict(), name, tags_of(module.config))


def check_weights(weights: Iterable[float]) -> None:
    """Raise UserError unless they are shares."""
    for weight in weights:
        if not 0 <= weight <= 1:
            raise UserError(
                "A weight from 0 (the student) to 1 (the teacher) was expected, but "
                f"it is {weight}. Give one in between."
            )


def check_match(student: Weights, teacher: Weights) -> None:
    """Raise UserError unless shapes are the same and the student has all tags."""
    own, other = student.shapes, teacher.shapes
    unlike = [n for n in {**other, **own} if own.get(n) != other.get(n)]
    if unlike:
        sizes = [shapes.get(unlike[0], "not there") for shapes in (own, other)]
        raise UserError(
            "A student of the teacher's architecture was expected, but they differ in "
            f"{len(unlike)} weights: {unlike[0]} is {sizes[0]} in the student and "
            f"{sizes[1]} in the teacher. Give the checkpoint that the student started "
            "from as its teacher."
        )
    check_teacher(teacher.tags, student.tags)


def interpolate(student: Weights, teacher: Weights, weight: float) -> Tensors:
    """All of the student's tensors, each `weight` of the way to the teacher's.

    Rows of tags that the teacher lacks stay the student's, as do integers.
    Example: tags O, B-X and O, weight 0.5: [[2], [8]], [[4]] -> [[3], [8]]
    """
    check_weights([weight])
    check_match(student, teacher)
    rows = [student.tags.index(tag) for tag in teacher.tags]
    mixed = {}
    for name, own in student.tensors.items():
        other = teacher.tensors[name].to(own.device)
        if not own.is_floating_point():
            mixed[name] = own
        elif student.has_rows(name):
            mixed[name] = own.clone()
            mixed[name][rows] = _mix(own[rows], other, weight)
        else:
            mixed[name] = _mix(own, other, weight)
    return mixed


def _mix(student: torch.Tensor, teacher: torch.Tensor, weight: float) -> torch.Tensor:
    if weight in (0, 1):  # bit for bit: 0 * x + y is not, where y is -0.0
        return teacher if weight else student
    return (1 - weight) * student.float() + weight * teacher.float()


def move(student: Language, teacher: Language, weight: float) -> None:
    """Take the student's weights there, in place."""
    module = get_module(student)
    teacher_weights = weights_of(get_module(teacher))
    module.load_state_dict(interpolate(weights_of(module), teacher_weights, weight))


def sweep(
    teacher: Language,
    student: Language,
    new: Files,
    old: Files,
    weights: Sequence[float],
    track: Track = lambda docs, total: docs,
) -> dict[str, Any]:
    """F1 in points at each weight: new types in new files, old types in old ones.

    The student ends with the weights that it came with.
    """
    check_weights(weights)
    module = get_module(student)
    own = copy.deepcopy(weights_of(module))
    other = weights_of(get_module(teacher))
    check_match(own, other)
    old_types = list(teacher.get_pipe(COMPONENT).labels)
    known = student.get_pipe(COMPONENT).labels
    new_types = [kind for kind in known if kind not in old_types]
    before = _f1_by_file(_measure(teacher, old, track), old_types)
    rows = []
    for weight in weights:
        module.load_state_dict(interpolate(own, other, weight))
        counts = _measure(student, old, track)
        row = _learnt(_measure(student, new, track), counts, new_types)
        after = _f1_by_file(counts, old_types)
        rows.append({"weight": weight, **row, **_kept(before, after, row["new"])})
    module.load_state_dict(own.tensors)
    best = max(rows, key=lambda row: row["harmonic_mean"] or 0.0)
    return {
        "old_types": old_types,
        "new_types": new_types,
        "teacher": {"old": _mean(before.values()), "old_by_file": before},
        "weights": rows,
        "best": best["weight"] if best["harmonic_mean"] else None,
    }


def _measure(nlp: Language, files: Files, track: Track) -> CountsByFile:
    return {
        name: count(predict(nlp, refs, track), refs) for name, refs in files.items()
    }


def _f1_by_file(counts: CountsByFile, types: Sequence[str]) -> ByFile:
    return {name: points(file, types) for name, file in counts.items()}


def _learnt(new: CountsByFile, old: CountsByFile, types: Sequence[str]) -> Row:
    """types: the new ones, which are also counted where there should be none."""
    found = [
        counts[kind] for counts in old.values() for kind in types if kind in counts
    ]
    return {
        "new": points(merge(new.values()), types),
        "new_by_file": _f1_by_file(new, types),
        "new_types_found": sum(prf.tp + prf.fp for prf in found),
    }


def _kept(before: ByFile, after: ByFile, learnt: float | None) -> Row:
    """The student's F1 beside the teacher's, each file counted once."""
    lost = {
        name: round(before[name] - f1, 2)
        for name, f1 in after.items()
        if None not in (f1, before[name])
    }
    worst = max(lost, key=lost.__getitem__, default=None)
    old = _mean(after.values())
    both = (
        None if None in (learnt, old) else round(float(harmonic_mean((learnt, old))), 2)
    )
    return {
        "old": old,
        "lost": _mean(lost.values()),
        "worst_file": worst,
        "worst_lost": lost.get(worst),
        "harmonic_mean": both,
        "old_by_file": after,
        "lost_by_file": lost,
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 2) if known else None


def sweep_table(figures: dict[str, Any]) -> str:
    """The figures of `sweep` as Markdown, the teacher by itself in the first row."""
    cells = [["teacher", None, figures["teacher"]["old"], None, None, None]]
    for row in figures["weights"]:
        worst = row["worst_file"] and f"{row['worst_file']} ({row['worst_lost']})"
        scores = (row[key] for key in ("weight", "new", "old", "lost"))
        cells.append([*scores, worst, row["harmonic_mean"]])
    return format_table(HEADER, cells, "r" * len(HEADER))


def draw(figures: dict[str, Any]) -> bytes:
    """New F1 over old F1 as a PNG, a point a weight; needs matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    known = [r for r in figures["weights"] if None not in (r["old"], r["new"])]
    axes.plot([r["old"] for r in known], [r["new"] for r in known], "o-")
    for row in known:
        place = row["old"], row["new"]
        axes.annotate(f"{row['weight']:g}", place, (5, 5), textcoords="offset points")
    before = figures["teacher"]["old"]
    if before is not None:
        axes.axvline(before, color="#999999", ls="--", label="teacher")
        axes.legend(frameon=False)
    axes.set_xlabel("F1 of old types, old domain, mean over files")
    axes.set_ylabel("F1 of new types, new domain")
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=150)
    return target.getvalue()
