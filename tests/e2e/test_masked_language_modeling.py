"""``sparsify-train masked_language_modeling`` on a tiny model: train, prune, resume, export, measure, fill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparsify.cli import export
from sparsify.cli.train import main
from tests.helpers import ner
from tests.helpers.runs import World, different_weights, encoder_sparsity, lines, recipe, results


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Lines of text, and a dense model that has learnt them."""
    root = tmp_path_factory.mktemp("texts")
    data = {"train": root / "train.txt", "validation": root / "dev.txt", "test": root / "test.jsonl"}
    for seed, (name, count) in enumerate({"train": 96, "validation": 24}.items()):
        said = [" ".join(row["tokens"]) for row in ner.rows(count, seed)]
        data[name].write_text("\n".join([*said, "", " "]))
    ner.write_jsonl(data["test"], [{"text": " ".join(row["tokens"])} for row in ner.rows(8, 5)])
    text = recipe(None, epochs=3, rate=3e-3)
    made = World("mlm", root, ner.model_folder(root / "base"), data, text)
    return made.learn(30, "--do_eval", "--do_predict", "--line_by_line")


def test_the_model_learns_to_fill_in_words(world: World, tmp_path: Path) -> None:
    assert main(world.flags(tmp_path, "--do_eval", "--line_by_line")) == 0
    untrained, trained = results(tmp_path), results(world.dense)
    assert trained["eval_perplexity"] < untrained["eval_perplexity"] / 3
    assert trained["eval_accuracy"] > untrained["eval_accuracy"]
    assert trained["eval_samples"] == 24
    rows = lines(world.dense / "predictions.jsonl")
    right = [p == t for row in rows for p, t in zip(row["predicted"], row["true"], strict=True)]
    assert sum(right) / len(right) == pytest.approx(results(world.dense)["predict_accuracy"])
    assert all("[MASK]" in row["text"] or len(row["true"]) == 1 for row in rows)


def test_the_masks_of_evaluation_never_change(world: World, tmp_path: Path) -> None:
    found = []
    for seed in ("1", "2"):
        assert main(world.flags(tmp_path / seed, "--do_eval", "--seed", seed, model=world.dense)) == 0
        found.append({k: results(tmp_path / seed)[k] for k in ("eval_loss", "eval_perplexity", "eval_accuracy")})
    assert found[0] == found[1]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_cut_in_the_middle_of_an_epoch_ends_with_the_same_weights(
    world: World, tmp_path: Path, workers: str
) -> None:
    more = (
        *world.distilling(),
        "--line_by_line",
        "--dataloader_num_workers",
        workers,
        "--save_strategy",
        "steps",
        "--save_steps",
        "17",
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(world.flags(whole, *more)) == 0
    assert (whole / "checkpoint-17").is_dir()  # of 12 steps an epoch
    assert main(world.flags(cut, *more, "--resume_from_checkpoint", str(whole / "checkpoint-17"))) == 0
    assert different_weights(whole, cut) == []


def test_each_epoch_hides_other_tokens(world: World, tmp_path: Path) -> None:
    """Two epochs of one step each are not the same step twice."""
    first = ("--do_train", "--max_train_samples", "8", "--line_by_line", "--learning_rate", "0", "--logging_steps", "1")
    assert main(world.flags(tmp_path, *first, "--num_train_epochs", "3")) == 0
    log = json.loads((tmp_path / "trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len(losses) == len(set(losses)) == 3


def test_a_sparse_model_exports_and_measures_as_training_did(world: World, tmp_path: Path) -> None:
    assert main(world.flags(tmp_path, *world.distilling(), "--do_eval", model=world.dense)) == 0
    assert encoder_sparsity(tmp_path) == pytest.approx(0.5, abs=0.01)
    data = str(world.data["validation"])
    assert export.main(["--model_path", str(tmp_path), "--samples", data, "--eval", data, "--task", "mlm"]) == 0
    report = json.loads((tmp_path / "deployment" / "report.json").read_text())
    assert (report["task"], report["labels"], report["verification"]["passed"]) == (
        "masked_language_modeling",
        [],
        True,
    )
    for runtime in ("torch", "onnxruntime"):
        for name in ("perplexity", "accuracy"):
            assert report["metrics"][runtime][name] == pytest.approx(results(tmp_path)[f"eval_{name}"], rel=1e-4)


def test_with_a_kept_teacher_every_epoch_is_masked_as_the_first(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--do_train", "--line_by_line", "--apply_distillation", "--teacher_model_name_or_path", str(world.dense))
    common = (*common, "--loss_types", "CE", "KL", "--logging_steps", "1", "--max_steps", "15")
    found = []
    for name, flags in {
        "running": (),
        "kept": ("--generate_teacher_logits", "--teacher_cache_dir", str(tmp_path)),
    }.items():
        assert main(world.flags(tmp_path / name, *common, *flags)) == 0
        log = json.loads((tmp_path / name / "trainer_state.json").read_text())["log_history"]
        found.append([entry["loss"] for entry in log if "loss" in entry])
    running, kept = found
    assert kept[:12] == pytest.approx(running[:12], rel=1e-4)  # the first epoch
    assert kept[12:] != pytest.approx(running[12:], rel=1e-4)
    assert "every epoch sees the training data as the first one does" in " ".join(capsys.readouterr().err.split())


def test_validation_texts_out_of_the_training_texts(world: World, tmp_path: Path) -> None:
    argv = ["mlm", "--model_name_or_path", str(world.base), "--output_dir", str(tmp_path), "--use_cpu", "--do_eval"]
    argv += ["--train_file", str(world.data["train"]), "--report_to", "none"]
    assert main([*argv, "--validation_split_percentage", "25"]) == 0
    assert results(tmp_path)["eval_samples"] == 98 // 4 - 2  # two of the last lines are blank


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--mlm_probability", "0"), "--mlm_probability must be above 0"),
        (("--validation_split_percentage", "100"), "--validation_split_percentage must be above 0 and below 100"),
        (("--text_column_name", "txt"), "no column 'txt' (--text_column_name); there are: text"),
        (("--distill_teacher", "self"), "give --recipe"),
        (("--recipe", "{recipe}", "--distill_teacher", "{tagger}"), "not trained for masked_language_modeling"),
    ],
)
def test_mistakes_are_one_message(
    world: World, tmp_path: Path, flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"recipe": world.recipe, "tagger": tmp_path / "tagger"}
    if "{tagger}" in flags:
        ner.model_folder(names["tagger"], ner.LABELS)
    assert main(world.flags(tmp_path / "out", "--do_train", *(f.format(**names) for f in flags))) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
