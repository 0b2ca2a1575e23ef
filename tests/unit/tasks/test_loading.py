"""``--verify_loading`` finds what is not the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sparsify.errors import CheckFailed
from sparsify.tasks.loading import Compared, _in_fresh_process, _metrics, _outputs, _parts
from sparsify.tasks.observed import Observed, main, observe, read_answer, write_request
from sparsify.tasks.token_classification.task import TASK
from tests.helpers import ner


def batch(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 20, (2, 6), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.ones_like(ids)}


BATCHES = [batch(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ner.model_folder(tmp_path_factory.mktemp("saved"), ner.LABELS)


@pytest.fixture(scope="module")
def seen() -> Observed:
    return observe(ner.model(ner.LABELS), TASK, BATCHES)


def verdicts(found: Any) -> dict[str, bool]:
    return {one.what: one.equal for one in found}


def test_the_other_process_sees_what_this_one_sees(folder: Path, seen: Observed, tmp_path: Path) -> None:
    request, answer = tmp_path / "request.safetensors", tmp_path / "answer.safetensors"
    write_request(request, "token_classification", folder, "cpu", BATCHES)
    assert main([str(request), str(answer)]) == 0
    other = read_answer(answer)
    assert list(seen.outputs) == [f"{i} logits" for i in range(4)]
    assert all(torch.equal(value, other.outputs[name]) for name, value in seen.outputs.items())
    assert [torch.equal(a[0], b[0]) for a, b in zip(seen.kept, other.kept, strict=True)] == [True] * 12
    assert (seen.layers, seen.totals) == (other.layers, other.totals)
    assert all(verdicts([*_outputs(seen, other), *_parts(seen, other)]).values())


def test_looking_leaves_the_mode_of_the_model() -> None:
    model = ner.model(ner.LABELS).train()
    observe(model, TASK, BATCHES[:1])
    assert model.training


def test_another_number_in_one_batch_is_found(seen: Observed) -> None:
    harmed = replace(seen, outputs={k: v + (k == "2 logits") * 1e-3 for k, v in seen.outputs.items()})
    assert verdicts(_outputs(seen, harmed)) == {"logits of 4 batches": False}
    rounded = replace(seen, outputs={k: v * (1 + 1e-7) for k, v in seen.outputs.items()})
    assert verdicts(_outputs(seen, rounded)) == {"logits of 4 batches": True}
    broken = replace(seen, outputs={k: v * (float("nan") if k == "2 logits" else 1) for k, v in seen.outputs.items()})
    assert verdicts(_outputs(seen, broken)) == {"logits of 4 batches": False}


@pytest.mark.parametrize(("place", "what"), [(0, "bits of each layer"), (1, "zeros of each layer")])
def test_another_layer_is_found(seen: Observed, place: int, what: str) -> None:
    name = next(iter(seen.layers))
    changed = [v + (i == place) for i, v in enumerate(seen.layers[name])]
    found = verdicts(_parts(seen, replace(seen, layers={**seen.layers, name: changed})))
    assert [name for name, equal in found.items() if not equal] == [what]
    fewer = {k: v for k, v in seen.layers.items() if k != name}
    assert not all(verdicts(_parts(seen, replace(seen, layers=fewer))).values())


def test_another_sparsity_is_found(seen: Observed) -> None:
    totals = {**seen.totals, "bits of the weights": "8"}
    assert not verdicts(_parts(seen, replace(seen, totals=totals)))["bits of the weights"]


def test_another_metric_is_found(seen: Observed) -> None:
    class Job:
        reading = None

        class task:
            @staticmethod
            def measure(reading: Any, split: str) -> Any:
                return lambda given: {"mean": float(given.predictions.mean())}

    labels: list[Tensor | None] = [b["labels"] for b in BATCHES]
    job: Any = Job()
    other = replace(seen, kept=[[row[0] + 1] for row in seen.kept])
    assert verdicts(_metrics(job, "validation", labels, seen, seen)) == {"validation mean": True}
    assert verdicts(_metrics(job, "validation", labels, seen, other)) == {"validation mean": False}


def test_a_folder_that_cannot_be_loaded_fails_the_check(tmp_path: Path) -> None:
    request = tmp_path / "request.safetensors"
    write_request(request, "token_classification", tmp_path / "nowhere", "cpu", BATCHES[:1])
    with pytest.raises(CheckFailed, match=r"cannot be loaded in a fresh process: .*nowhere: no such model folder"):
        _in_fresh_process(request, tmp_path / "answer.safetensors")


def test_the_command_ends_with_1_where_something_differs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sparsify.cli.train import main as train

    data = ner.data_files(tmp_path / "data", train=8, other=4)
    argv = ["token_classification", "--model_name_or_path", str(folder), "--output_dir", str(tmp_path / "out")]
    argv += ["--train_file", str(data["train"]), "--validation_file", str(data["validation"]), "--use_cpu"]
    assert train([*argv, "--do_eval", "--verify_loading"]) == 0
    assert "--verify_loading has no effect: nothing was saved" in capsys.readouterr().err
    false = Compared("logits", "1", "2", False)
    monkeypatch.setattr("sparsify.tasks.runner.verify_loading", lambda job, folder: [false])
    assert train([*argv, "--do_train", "--max_steps", "1", "--verify_loading"]) == 1
    said = capsys.readouterr()
    assert "NO" in said.out
    assert "does not hold the model that was in memory" in said.err
