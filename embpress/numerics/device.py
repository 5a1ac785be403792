"""The device on which a job computes: decided here, and nowhere else."""

import torch

from ..errors import UserError

CPU = torch.device("cpu")


def choose_device(name: str) -> torch.device:
    """The device of a study's key `device`.

    A job was given a GPU if torch sees one: SLURM and CUDA_VISIBLE_DEVICES hide the others. Apple's
    MPS is not used, as it has neither float64, in which Gram matrices are summed, nor complex128,
    with which short rows are gathered.

    Args:
        name: `cpu`; `cuda`; or `auto`, which is CUDA where the job was given a GPU, else the CPU.

    Raises:
        UserError: if the name is another, or is `cuda` and torch sees no GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device is {name!r}: use auto, cpu or cuda")
    has_gpu = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        build = "has no CUDA" if torch.version.cuda is None else "sees no GPU"
        raise UserError(
            f"device is cuda, but torch {torch.__version__} {build}: use device auto, or install "
            "torch with CUDA and give the job a GPU"
        )
    return torch.device("cuda" if has_gpu else "cpu")
