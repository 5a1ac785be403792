from embpress.files import partial_file, write_text


def test_a_write_replaces_what_a_killed_one_has_left(tmp_path):
    path = tmp_path / "scores.csv"
    partial_file(path).write_text("half of a")
    write_text(path, "whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]
