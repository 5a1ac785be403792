"""What figures share."""

import dataclasses

from embpress.report.plots import retention_by_ratio

from ..fake_study import fake_labels, fake_scores


def test_a_legend_of_long_names_is_within_the_figure():
    labels = fake_labels()
    methods = {
        name: dataclasses.replace(method, label=f"{method.label}, with an explanation")
        for name, method in labels.methods.items()
    }
    figure = retention_by_ratio(fake_scores(), dataclasses.replace(labels, methods=methods))
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
