"""Integers to bits and back: packing, rotation, the trellis-coded quantiser and its entropy code."""
