"""Exact nearest-neighbour search and k-means with faiss, in threads that do not depend on each
other.

faiss is imported on first use, so that methods are listed and artefacts load where it is missing.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, Literal, TypeVar

import numpy as np
import torch

Result = TypeVar("Result")
Similarity = Literal["cosine", "euclidean"]


def load_faiss() -> ModuleType:
    """Import faiss, without its messages about instruction sets in a job's log."""
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    import faiss

    return faiss


def map_in_threads(function: Callable[..., Result], *arguments: Iterable[Any]) -> Iterator[Result]:
    """Call a function once for each set of arguments, in as many threads as torch uses.

    faiss itself gets one thread in each of them: results then do not depend on their number.

    Returns:
        The results, in the order of the arguments.
    """
    n_threads = max(1, torch.get_num_threads())
    set_threads = load_faiss().omp_set_num_threads
    with ThreadPoolExecutor(n_threads, initializer=set_threads, initargs=(1,)) as pool:
        yield from pool.map(function, *arguments)


def build_index(keys: np.ndarray, similarity: Similarity) -> Any:
    """An exact faiss index of keys, float32 (n, d).

    Cosines are inner products with keys of length 1: the length of a query does not change its
    neighbours. Zero keys stay zero.
    """
    faiss = load_faiss()
    if similarity == "euclidean":
        index = faiss.IndexFlatL2(keys.shape[1])
        index.add(np.ascontiguousarray(keys))
        return index
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys / np.linalg.norm(keys, axis=1, keepdims=True).clip(1e-30))
    return index
