"""Outcomes of a study to tables of numbers.

Scores with intervals, claims, predictors, averages, sizes, times.
"""
