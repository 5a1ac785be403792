"""The code of a tied output head, where it is another than that of the lookups."""

from ..errors import UserError
from ..methods import method_class, resolve_name
from ..methods._base import check_ratio
from .manifest import HeadFit


def parse_head_code(code: str) -> HeadFit:
    """Parse METHOD@RATIO.

    Raises:
        UserError: if it is not of this form, there is no such method, or the ratio is no number
            from 1.
    """
    method, _, ratio = code.partition("@")
    try:
        number = float(ratio)
    except ValueError as error:
        raise UserError(
            f"the head's code {code!r} is not METHOD@RATIO: write for instance integer@4"
        ) from error
    try:
        check_ratio(number)
    except UserError as error:
        raise UserError(f"the head's code {code!r}: {error}") from error
    method_class(resolve_name(method))()
    return HeadFit(method=method, ratio=number)
