"""What is told of other people's errors."""

from __future__ import annotations

import pytest
from huggingface_hub.errors import StrictDataclassFieldValidationError

from sparsify.errors import first_line, reason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("bad size\nlook above"), "ValueError: bad size"),
        (ValueError("  \n\n bad size \n"), "ValueError: bad size"),
        (
            StrictDataclassFieldValidationError("size", TypeError("got str")),
            "StrictDataclassFieldValidationError: Validation error for field 'size': TypeError: got str",
        ),
        (ValueError("ends here:"), "ValueError: ends here:"),
        (KeyError("nix"), "KeyError: 'nix'"),
        (OSError(), "OSError"),
    ],
)
def test_the_line_that_says_why(error: Exception, said: str) -> None:
    assert reason(error) == said


def test_the_line_alone() -> None:
    assert first_line(ValueError("\n bad size\nlook above")) == "bad size"
    assert first_line(RuntimeError("  ")) == "RuntimeError"
