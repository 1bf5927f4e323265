"""`nlp.rehearse`: texts without labels, of which is taught what was said before."""

from dataclasses import replace

from .background import distil_background
from .decoding import Decoder
from .errors import UserError
from .lessons import Lessons
from .losses import Loss
from .network import Network
from .teacher import Teacher

NOTHING_TO_REHEARSE = (
    "Something to go back to was expected in nlp.rehearse(), but there is neither a "
    "copy of the pipeline nor a teacher. Call nlp.resume_training() before the first "
    "update: it keeps a copy of what there is then."
)


def loss_to_rehearse(loss: Loss) -> Loss:
    """The loss' own term of tokens without gold or, where it has none,
    `distil_background`; logits alone, not features."""
    unlabelled = loss.unlabelled or (
        lambda logits, gold, teacher, tag_map: distil_background(
            logits, teacher, tag_map, temperature=1.0
        )
    )
    return replace(loss, unlabelled=unlabelled, features=None)


def lessons_to_rehearse(
    before: Network | None, last: Lessons | None, decoder: Decoder, loss: Loss
) -> Lessons:
    """before: a copy of the model as it was at nlp.resume_training().
    last: those of the last training, whose teacher stands in for such a copy."""
    tags = [] if before is None else before.attrs["get_tags"](before)
    if tags:
        teacher = Teacher(tags, lambda: before)
    elif last is not None:
        teacher = last.teacher
    else:
        raise UserError(NOTHING_TO_REHEARSE)
    return Lessons(teacher, None, decoder, loss)
