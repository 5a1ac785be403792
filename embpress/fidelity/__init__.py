"""Reconstruction metrics and the rate-distortion lower bound."""
