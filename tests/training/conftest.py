"""A checkpoint to train from."""

import pytest

from embpress.models import describe


@pytest.fixture
def base(tmp_path, bert, wordpiece):
    """A described checkpoint without head."""
    bert.save_pretrained(tmp_path / "base")
    wordpiece.save_pretrained(tmp_path / "base")
    describe(bert, wordpiece.all_special_ids, tmp_path / "base", {})
    return tmp_path / "base"
