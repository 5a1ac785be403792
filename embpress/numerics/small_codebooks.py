"""k-means with at most 16 centroids of few columns, as in residual vector quantization."""

import numpy as np

from .compiled import compiled

CENTROIDS = 16


@compiled
def nearest_centroids(points: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Number of the nearest of 16 centroids, float32 (16, c), of points (n, c): uint8 (n,)."""
    columns = np.ascontiguousarray(centroids.T)
    codes = np.empty(len(points), dtype=np.uint8)
    distance = np.empty(CENTROIDS, dtype=np.float32)
    for i in range(len(points)):
        distance[:] = 0
        for j in range(len(columns)):
            value = points[i, j]
            for k in range(CENTROIDS):
                difference = columns[j, k] - value
                distance[k] += difference * difference
        best = 0
        for k in range(1, CENTROIDS):
            if distance[k] < distance[best]:
                best = k
        codes[i] = best
    return codes


@compiled
def k_means_of_16(
    points: np.ndarray, weights: np.ndarray, start: np.ndarray, iterations: int
) -> np.ndarray:
    """Weighted k-means from given centroids; a centroid without points stays where it is.

    Args:
        points: float32 (n, c).
        weights: float32 (n,).
        start: float32 (16, c).
        iterations: number of Lloyd's iterations.

    Returns:
        float32 (16, c).
    """
    centroids = start.copy()
    for _ in range(iterations):
        codes = nearest_centroids(points, centroids)
        total = np.zeros(centroids.shape)
        count = np.zeros(CENTROIDS)
        for i in range(len(points)):
            code = codes[i]
            count[code] += weights[i]
            for j in range(points.shape[1]):
                total[code, j] += weights[i] * points[i, j]
        for k in range(CENTROIDS):
            if count[k] > 0:
                for j in range(points.shape[1]):
                    centroids[k, j] = total[k, j] / count[k]
    return centroids
