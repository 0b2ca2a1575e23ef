from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from sparsify.tasks.token_classification.columns import Sentences
from sparsify.tasks.token_classification.encode import EncodedTokens
from sparsify.tasks.token_classification.task import TASK


def test_predictions_cover_words_that_the_model_did_not_see(tmp_path: Path) -> None:

    job: Any = SimpleNamespace(
        splits={"test": Sentences("t", [["ada", "met", "oslo"]], None)},
        encoded={"test": EncodedTokens([{}], [[1, -1, 2]])},
        labels=["O", "B-per", "B-loc"],
    )
    TASK.write_predictions(job, "test", np.array([[0, 1, 2, 0]]), tmp_path)
    assert (tmp_path / "predictions.txt").read_text() == "B-per O B-loc\n"
