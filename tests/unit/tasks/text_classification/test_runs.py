"""Runs of the task in this process: data from the Hub, and encoders of several families."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers as hf

from sparsify.cli.train import main
from sparsify.tasks import hub
from tests.helpers import ner, texts
from tests.helpers.runs import results


def stored(rows: list[dict[str, Any]], label: Any) -> Any:
    import datasets

    kinds = {name: datasets.Value("string") for name in rows[0] if name != "label"}
    return datasets.Dataset.from_list(rows, features=datasets.Features({**kinds, "label": label}))


@pytest.fixture
def on_the_hub(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], list[tuple[Any, ...]]]:
    """Put splits on a Hub; gives what is asked of it."""
    import datasets

    def put(splits: dict[str, Any]) -> list[tuple[Any, ...]]:
        asked: list[tuple[Any, ...]] = []

        def load(name: str, config: str | None = None, **_: Any) -> Any:
            asked.append((name, config))
            return datasets.DatasetDict(splits)

        monkeypatch.setattr(datasets, "load_dataset", load)
        monkeypatch.setattr(hub, "reachable", lambda: True)
        return asked

    return put


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts.model_folder(tmp_path_factory.mktemp("models") / "base")


def flags(task: str, model: Path, out: Path, *more: str) -> list[str]:
    start = ["text_classification", "--task_name", task, "--model_name_or_path", str(model), "--output_dir", str(out)]
    return [*start, "--use_cpu", "--report_to", "none", *more]


def test_mnli_has_two_validation_sets_and_tests_without_labels(
    base: Path, tmp_path: Path, on_the_hub: Callable[[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    import datasets

    names = ["entailment", "neutral", "contradiction"]
    label = datasets.ClassLabel(names=names)

    def rows(count: int, unknown: bool = False) -> Any:
        made = [{"premise": "ada met", "hypothesis": "oslo", "label": -1 if unknown else i % 3} for i in range(count)]
        return stored(made, label)

    splits = {"train": rows(6), "validation_matched": rows(4), "validation_mismatched": rows(5)}
    splits |= {"test_matched": rows(2, unknown=True), "test_mismatched": rows(3, unknown=True)}
    asked = on_the_hub(splits)
    assert main(flags("mnli", base, tmp_path, "--do_eval", "--do_predict")) == 0
    assert asked == [("nyu-mll/glue", "mnli")]
    found = results(tmp_path)
    assert (found["eval_samples"], found["eval_mm_samples"]) == (4, 5)
    assert {"eval_accuracy", "eval_mm_accuracy"} <= set(found)
    assert "predict_accuracy" not in found
    for name, count in (("predictions", 2), ("predictions_mm", 3)):
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert len(lines) == count
        assert all(json.loads(line)["predicted"] in names for line in lines)


def test_stsb_is_a_number(
    base: Path, tmp_path: Path, on_the_hub: Callable[[dict[str, Any]], list[tuple[Any, ...]]]
) -> None:
    import datasets

    made = [{"sentence1": "ada", "sentence2": "met", "label": float(i)} for i in range(6)]
    both = stored(made, datasets.Value("float32"))
    on_the_hub({"train": both, "validation": both})
    assert main(flags("stsb", base, tmp_path, "--do_train", "--do_eval", "--max_steps", "2")) == 0
    assert {"eval_pearson", "eval_spearmanr", "eval_combined_score"} <= set(results(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["problem_type"], config["finetuning_task"]) == ("regression", "stsb")
    assert list(config["id2label"].values()) == ["score"]


SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
FAMILIES: dict[str, Callable[[int], Any]] = {
    "distilbert": lambda n: hf.DistilBertForMaskedLM(
        hf.DistilBertConfig(vocab_size=n, dim=16, n_layers=1, n_heads=2, hidden_dim=32)
    ),
    "roberta": lambda n: hf.RobertaForMaskedLM(hf.RobertaConfig(vocab_size=n, pad_token_id=0, **SMALL)),
    "electra": lambda n: hf.ElectraForMaskedLM(hf.ElectraConfig(vocab_size=n, embedding_size=16, **SMALL)),
    "deberta-v2": lambda n: hf.DebertaV2ForMaskedLM(hf.DebertaV2Config(vocab_size=n, **SMALL)),
    "mpnet": lambda n: hf.MPNetForMaskedLM(hf.MPNetConfig(vocab_size=n, pad_token_id=0, **SMALL)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_encoders_of_other_families_read_pairs(family: str, tmp_path: Path) -> None:
    tokenizer = ner.tokenizer()
    FAMILIES[family](len(tokenizer)).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    files = texts.data_files(tmp_path / "data", 8, 4, pair=True, kind="ids")
    argv = flags("qnli", tmp_path / "base", tmp_path / "out", "--train_file", str(files["train"]), "--max_steps", "1")
    assert main([*argv, "--validation_file", str(files["validation"])]) == 0
    assert "eval_accuracy" in results(tmp_path / "out")
