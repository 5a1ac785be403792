"""Outcomes of a study to tables of numbers: scores with intervals, claims, predictors, averages, sizes, times."""
