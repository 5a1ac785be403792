"""Errors that are the user's to mend.

Each message names the culprit and the remedy in one sentence.
"""


class UserError(Exception):
    """A wrong config, file or matrix. Shown without a traceback."""


class InfeasibleRatio(UserError):
    """A method cannot reach the asked ratio on this shape.

    Tables show a dash with this message as the footnote.
    """
