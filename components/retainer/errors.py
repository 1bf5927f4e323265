"""The one error type for a user's mistake."""

from thinc.api import ConfigValidationError


class UserError(ConfigValidationError):
    """What was expected, what came (value, file:line), and what to do.

    A `ConfigValidationError`, because spaCy's commands show that one as a message
    and exit with status 1, where any other error ends in a traceback.
    """

    def __init__(self, desc: str | None = None, **kwargs):
        kwargs.setdefault("title", "retainer cannot go on")
        super().__init__(desc=desc, **kwargs)
