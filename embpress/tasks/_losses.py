"""Distillation losses of a head's predictions (Hinton et al. 2015, at temperature 1)."""

from torch import Tensor
from torch.nn import functional

from ..models.predictions import LEAST_LOGIT


def kl_divergence(student: Tensor, teacher: Tensor, counts: Tensor | None = None) -> Tensor:
    """KL(teacher || student) of logits (..., C), a mean over all predictions that count.

    Args:
        student: logits of the student.
        teacher: logits of the teacher.
        counts: (...) which predictions count; all by default.
    """
    if counts is not None:
        student = student[counts]
        teacher = teacher[counts]
    ours, theirs = (
        functional.log_softmax(logits.float().flatten(0, -2), dim=-1)
        for logits in (student, teacher)
    )
    return functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def kl_divergence_over_tokens(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(teacher || student) of distributions over the tokens of a text, a mean over the batch.

    Args:
        student: logits (B, T) of the student, one a token.
        teacher: logits of the teacher.
        mask: (B, T) tokens that are not padding.
    """
    hidden = ~mask.bool()
    return kl_divergence(
        student.masked_fill(hidden, LEAST_LOGIT), teacher.masked_fill(hidden, LEAST_LOGIT)
    )


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of predicted numbers, of any shape."""
    return functional.mse_loss(student.float(), teacher.float())
