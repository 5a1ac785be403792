"""Stages of the workflow, one module each."""
