"""``sparsify-train token_classification`` on a tiny model: in this process, and as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sparsify.cli.train import main
from tests.helpers import ner
from tests.helpers.runs import World, different_weights, encoder_sparsity, lines, recipe, results


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Sentences, and a dense model of them."""
    root = tmp_path_factory.mktemp("train")
    base, data = ner.model_folder(root / "base"), ner.data_files(root / "data")
    return World("token_classification", root, base, data, recipe(epochs=3)).learn(6)


@pytest.fixture(scope="module")
def plain(world: World) -> Path:
    """The recipe without a teacher."""
    path = world.root / "plain.yaml"
    path.write_text(recipe(epochs=3, distil=False))
    return path


def test_plain_training_learns_and_leaves_its_files(world: World, tmp_path: Path) -> None:
    code = main(world.flags(tmp_path, "--do_eval", "--do_predict", "--return_entity_level_metrics", model=world.dense))
    assert code == 0
    found = results(tmp_path)
    assert found["eval_f1"] > 0.9
    assert {"eval_per_f1", "eval_loc_number", "predict_f1", "eval_accuracy"} <= set(found)
    predicted = lines(tmp_path / "predictions.jsonl")
    test = lines(world.data["test"])
    assert [row["tokens"] for row in predicted] == [row["tokens"] for row in test]
    assert sum(p["predicted"] == t["ner_tags"] for p, t in zip(predicted, test, strict=True)) >= len(test) // 2
    assert (tmp_path / "predictions.txt").read_text().splitlines()[0] == " ".join(predicted[0]["predicted"])


def test_the_model_folder_names_its_labels(world: World) -> None:
    config = json.loads((world.dense / "config.json").read_text())
    assert list(config["id2label"].values()) == ner.LABELS
    assert (world.dense / "tokenizer.json").is_file()
    assert not (world.dense / ".saving").exists()


def test_a_recipe_prunes_quantizes_and_distils(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--do_eval", "--recipe_args", "num_epochs=4")
    assert main(world.flags(tmp_path, *world.distilling(), *more)) == 0
    said = capsys.readouterr()
    assert "the recipe sets the epochs: 4" in said.err
    assert "the recipe sets the learning rate: linear 0.005 to 0 in epochs 0 to 4" in said.err
    assert "sparsity of the prunable layers" in said.out
    assert encoder_sparsity(tmp_path) == pytest.approx(0.5, abs=0.01)
    assert "num_epochs: 4" in (tmp_path / "recipe.yaml").read_text()
    first = results(tmp_path)
    again = tmp_path / "again"
    assert main(world.flags(again, "--do_eval", model=tmp_path)) == 0
    assert results(again)["eval_loss"] == pytest.approx(first["eval_loss"], abs=1e-6)


def test_one_shot_needs_no_training(world: World, tmp_path: Path) -> None:
    flags = ("--one_shot", "--do_eval", "--recipe", str(world.recipe), "--num_export_samples", "2")
    assert main(world.flags(tmp_path, *flags, model=world.dense)) == 0
    assert encoder_sparsity(tmp_path) == pytest.approx(0.5, abs=0.01)
    assert "train_loss" not in results(tmp_path)
    assert sorted(p.name for p in (tmp_path / "sample-inputs").iterdir()) == ["inp-0000.npz", "inp-0001.npz"]


def test_a_teacher_with_its_labels_in_another_order_teaches(world: World, tmp_path: Path) -> None:
    teacher = ner.model_folder(tmp_path / "teacher", list(reversed(ner.LABELS)))
    flags = ("--do_train", "--recipe", str(world.recipe), "--distill_teacher", str(teacher), "--max_steps", "20")
    assert main(world.flags(tmp_path / "out", *flags)) == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--recipe", "{recipe}"), "disable"),
        (("--recipe", "{recipe}", "--distill_teacher", "{other}"), "only the teacher has B-x, I-x"),
        (("--recipe", "{recipe}", "--distill_teacher", "{base}"), "not trained for token_classification"),
        (("--recipe", "{plain}", "--num_train_epochs", "5"), "the recipe runs for 3 epochs"),
        (("--recipe", "{plain}", "--learning_rate", "5e-5"), "the recipe's starts at 0.005"),
        (("--recipe", "{plain}", "--warmup_ratio", "0.1"), "the recipe sets the learning rate"),
        (("--recipe", "{plain}", "--lr_scheduler_type", "cosine"), "the recipe sets the learning rate"),
        (("--recipe", "{plain}", "--recipe_args", "epochs=3"), "num_epochs"),
        (("--recipe_args", "epochs=3"), "give --recipe too"),
        (("--distill_teacher", "self"), "give --recipe"),
        (("--text_column_name", "words"), "there are: tokens, ner_tags"),
        (("--max_train_samples", "0"), "--max_train_samples must be at least 1"),
        (("--dataset_name", "conll2003"), "both name data"),
        (("--resume_from_checkpoint", "true"), "no checkpoint in"),
        (("--resume_from_checkpoint", "{base}"), "not a checkpoint folder"),
        (("--load_best_model_at_end",), "--load_best_model_at_end requires"),
        (("--save_strateg", "epoch"), "did you mean --save_strategy?"),
        (("--learning_rate", "fast"), "--learning_rate: invalid float value"),
        (("--seed", "1", "stray"), "unexpected argument 'stray'"),
    ],
)
def test_mistakes_are_one_message(
    world: World, plain: Path, tmp_path: Path, flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    if "{other}" in flags:
        ner.model_folder(other, ["O", "B-x", "I-x"])
    names = {"recipe": world.recipe, "plain": plain, "base": world.base, "other": other}
    argv = world.flags(tmp_path / "out", *(f.format(**names) for f in flags), "--do_train")
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_damaged_model_is_told(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = ner.model_folder(tmp_path / "broken", ner.LABELS)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    assert main(world.flags(tmp_path / "out", "--do_eval", model=broken)) == 2
    assert "cannot be loaded" in capsys.readouterr().err
    (broken / "config.json").write_text("{")
    assert main(world.flags(tmp_path / "out", "--do_eval", model=broken)) == 2
    assert "broken" in capsys.readouterr().err


def test_the_hub_out_of_reach_is_told(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model, more, told in (
        ("some/model", ["--validation_file", str(world.data["validation"])], "could not reach https://huggingface.co"),
        (
            str(world.base),
            ["--dataset_name", "conll2003"],
            "could not reach https://huggingface.co for the data set lhoestq",
        ),
    ):
        argv = ["ner", "--model_name_or_path", model, "--output_dir", str(tmp_path), "--do_eval", *more]
        assert main(argv) == 2
        assert told in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_found_first(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(world.flags(tmp_path / "file" / "out", "--do_train")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_lone_arguments_file_is_the_command_line(world: World, tmp_path: Path) -> None:
    values = {
        "model_name_or_path": str(world.dense),
        "validation_file": str(world.data["validation"]),
        "output_dir": str(tmp_path / "out"),
        "do_eval": True,
        "report_to": ["none"],
    }
    (tmp_path / "args.json").write_text(json.dumps(values))
    assert main(["token-classification", str(tmp_path / "args.json")]) == 0
    assert results(tmp_path / "out")["eval_f1"] > 0.9


def test_values_of_the_recipe_reach_tensorboard(world: World, plain: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = ("--do_train", "--recipe", str(plain), "--logging_dir", str(tmp_path / "tb"), "--logging_steps", "2")
    argv = world.flags(tmp_path / "out", *flags, "--report_to", "tensorboard")
    run = subprocess.run(
        [sys.executable, "-m", "sparsify.cli.train", *argv], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    assert any("sparsity" in tag for tag in events.Tags()["scalars"])
    assert any("learning_rate" in tag for tag in events.Tags()["scalars"])


def test_an_interrupt_saves_a_checkpoint_and_the_resume_ends_as_if_nothing_was(
    world: World, plain: Path, tmp_path: Path
) -> None:
    flags = ("--do_train", "--recipe", str(plain), "--recipe_args", "num_epochs=40", "--save_strategy", "no")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert main(world.flags(whole, *flags)) == 0
    argv = [sys.executable, "-m", "sparsify.cli.train", *world.flags(cut, *flags, "--logging_steps", "1")]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
        assert process.stderr is not None
        assert any(line.startswith("step 1 of ") for line in process.stderr)  # training runs
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "--resume_from_checkpoint true" in said
    assert "Traceback" not in said
    assert list(cut.glob("checkpoint-*/sparsify_state.safetensors"))
    assert not (cut / "model.safetensors").exists()
    assert main(world.flags(cut, *flags, "--resume_from_checkpoint", "true")) == 0
    assert different_weights(whole, cut) == []


def test_grouped_by_length_a_resumed_run_is_the_same_and_predictions_keep_their_rows(
    world: World, plain: Path, tmp_path: Path
) -> None:
    more = (
        "--do_train",
        "--do_predict",
        "--recipe",
        str(plain),
        "--group_by_length",
        "--per_device_eval_batch_size",
        "3",
    )
    saving = ("--save_strategy", "steps", "--save_steps", "9")  # in the middle of the second epoch
    whole, again = tmp_path / "whole", tmp_path / "again"
    assert main(world.flags(whole, *more, *saving)) == 0
    assert main(world.flags(again, *more, "--resume_from_checkpoint", str(whole / "checkpoint-9"))) == 0
    assert different_weights(whole, again) == []
    rows = lines(whole / "predictions.jsonl")
    asked = lines(world.data["test"])
    assert [row["tokens"] for row in rows] == [row["tokens"] for row in asked]
    right = sum(
        a == b for r, q in zip(rows, asked, strict=True) for a, b in zip(r["predicted"], q["ner_tags"], strict=True)
    )
    assert right / sum(len(q["tokens"]) for q in asked) == pytest.approx(results(whole)["predict_accuracy"])


def test_help_imports_no_transformers() -> None:
    code = (
        "import sys; from sparsify.cli.train import main; main(['token_classification', '--help']); "
        "sys.exit(3 if {'transformers', 'torch', 'datasets'} & set(sys.modules) else 0)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert "--recipe_args" in run.stdout


def test_the_seeds_command_runs_with_local_data_and_model(world: World, tmp_path: Path) -> None:
    recipe = tmp_path / "seed.yaml"
    recipe.write_text(SEED_RECIPE)
    argv = f"""
      --model_name_or_path {world.base} --recipe {recipe}
      --recipe_args {{"num_epochs":3,"qat_start_epoch":1.0,"observer_epoch":2.0}} --distill_teacher disable
      --train_file {world.data["train"]} --validation_file {world.data["validation"]}
      --text_column_name tokens --label_column_name ner_tags --output_dir {tmp_path / "out"}
      --per_device_train_batch_size 32 --per_device_eval_batch_size 32 --preprocessing_num_workers 6
      --do_train --do_eval --evaluation_strategy epoch --fp16 --seed 29204
      --save_strategy epoch --save_total_limit 1
    """.split()
    run = subprocess.run(
        [sys.executable, "-m", "sparsify.cli.train", "token_classification", *argv],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert run.returncode == 0, run.stderr
    assert "--evaluation_strategy epoch is --eval_strategy epoch now" in run.stderr
    assert "everything runs in fp32" in run.stderr
    assert len(list((tmp_path / "out").glob("checkpoint-*"))) == 1


SEED_RECIPE = """
version: 1.1.0
num_epochs: 13
init_lr: 1.5e-4
final_lr: 0
qat_start_epoch: 8.0
observer_epoch: 12.0
quantize_embeddings: 1
distill_hardness: 1.0
distill_temperature: 2.0
training_modifiers:
  - !EpochRangeModifier
      end_epoch: eval(num_epochs)
      start_epoch: 0.0
  - !LearningRateFunctionModifier
      start_epoch: 0
      end_epoch: eval(num_epochs)
      lr_func: linear
      init_lr: eval(init_lr)
      final_lr: eval(final_lr)
quantization_modifiers:
  - !QuantizationModifier
      start_epoch: eval(qat_start_epoch)
      disable_quantization_observer_epoch: eval(observer_epoch)
      freeze_bn_stats_epoch: eval(observer_epoch)
      quantize_embeddings: eval(quantize_embeddings)
      quantize_linear_activations: 0
      exclude_module_types: ['LayerNorm']
      submodules:
        - bert.embeddings
        - bert.encoder
        - classifier
distillation_modifiers:
  - !DistillationModifier
     hardness: eval(distill_hardness)
     temperature: eval(distill_temperature)
     distill_output_keys: [logits]
constant_modifiers:
  - !ConstantPruningModifier
      start_epoch: 0.0
      params: __ALL_PRUNABLE__
"""
