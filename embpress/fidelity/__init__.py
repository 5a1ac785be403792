"""How near a compressed matrix is to the original, and how near it could be."""
