"""Every method, found by scanning."""

import pytest

from embpress.methods import names


@pytest.fixture(params=names())
def name(request) -> str:
    """Every method found by scanning."""
    return request.param
