"""Field paths of errors."""

from __future__ import annotations

import pytest

from secateur.core.errors import InvalidArgument
from secateur.server.fields import under


@pytest.mark.parametrize(("field", "expected"), [("dataset", "job.dataset"), ("", "job")])
def test_the_path_goes_in_front_of_the_field(field: str, expected: str) -> None:
    with pytest.raises(InvalidArgument) as caught, under("job"):
        raise InvalidArgument("R", "message", field=field)
    assert caught.value.field == expected
