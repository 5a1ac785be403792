"""User errors: shown as one line, without a traceback.

Each message names the culprit and the remedy in one sentence.
"""


class UserError(Exception):
    """A configuration, file or matrix that cannot be used."""


class InfeasibleRatio(UserError):
    """A method cannot reach the target ratio on a matrix of this shape.

    Tables show a dash in place of the score, and this message as a footnote.
    """
