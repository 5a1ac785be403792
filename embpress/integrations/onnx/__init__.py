"""Exported models as ONNX files, whose embedding stays compressed."""
