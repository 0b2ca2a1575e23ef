"""The flags that training tasks add to Hugging Face's TrainingArguments, and what came out of parsing them all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments


def _flag(default: Any, text: str, *aliases: str) -> Any:
    metadata: dict[str, Any] = {"help": text}
    if aliases:
        metadata["aliases"] = list(aliases)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class ModelArguments:
    """Where model, configuration and tokenizer come from."""

    model_name_or_path: str | None = _flag(None, "Model to start from: a folder, a zoo: stub or a Hub id.")
    config_name: str | None = _flag(None, "Configuration, where it is not the model's own.")
    tokenizer_name: str | None = _flag(None, "Tokenizer, where it is not the model's own.")
    cache_dir: str | None = _flag(None, "Folder for downloads from the Hub.")
    model_revision: str = _flag("main", "Branch, tag or commit of the model on the Hub.")
    token: str | None = _flag(None, "Hub token (default: the one of `hf auth login`).")
    use_auth_token: bool = _flag(False, "Use the saved Hub token (always done; kept for old command lines).")
    trust_remote_code: bool = _flag(False, "Run model code that comes with a Hub repository.")


@dataclass
class DataArguments:
    """Which data is used, and how it becomes model input."""

    task_name: str = _flag("ner", "What is tagged (ner, pos, chunk): names the default label column.", "--task")
    dataset_name: str | None = _flag(None, "Data set on the Hub, such as conll2003 or wnut_17.")
    dataset_config_name: str | None = _flag(None, "Configuration of that data set.")
    train_file: str | None = _flag(None, "Training data: .csv .tsv .json .jsonl .conll .txt, also .gz.")
    validation_file: str | None = _flag(None, "Validation data, same formats.")
    test_file: str | None = _flag(None, "Test data, same formats.")
    text_column_name: str | None = _flag(None, "Column of tokens (default: tokens, else the first column).")
    input_column_names: str | None = _flag(None, "The same as --text_column_name.")
    label_column_name: str | None = _flag(None, "Column of tags (default: <task_name>_tags, else the second column).")
    class_names: str | None = _flag(None, "Names of class ids, in order: O,B-PER,... or a file with a JSON list.")
    max_seq_length: int | None = _flag(None, "Sub-tokens kept of each example (default: what the model takes).")
    pad_to_max_length: bool = _flag(False, "Pad each batch to --max_seq_length instead of to its longest example.")
    label_all_tokens: bool = _flag(False, "Label every sub-token of a word, not only the first (B- becomes I-).")
    return_entity_level_metrics: bool = _flag(False, "Report each entity type on its own as well.")
    max_train_samples: int | None = _flag(None, "Use only the first N training examples.")
    max_eval_samples: int | None = _flag(None, "Use only the first N validation examples.")
    max_predict_samples: int | None = _flag(None, "Use only the first N test examples.")
    preprocessing_num_workers: int | None = _flag(None, "Threads that the tokenizer may use.")
    overwrite_cache: bool = _flag(False, "Nothing is cached between runs; kept for old command lines.")


@dataclass
class RecipeArguments:
    """How the model gets small."""

    recipe: str | None = _flag(None, "Recipe: a file, a zoo: stub or a checkpoint folder.")
    recipe_args: str | None = _flag(None, "Values for the recipe's variables: JSON, a JSON/YAML file or k=v,k2=v2.")
    distill_teacher: str | None = _flag(None, "Teacher: a folder, stub or Hub id; self; disable (no distillation).")
    one_shot: bool = _flag(False, "Apply the recipe at once, calibrated on training data, instead of training.")
    num_calibration_samples: int = _flag(512, "Training examples used to calibrate with --one_shot.")
    best_model_after_epoch: float | None = _flag(None, "With --load_best_model_at_end: ignore earlier epochs.")
    num_export_samples: int = _flag(0, "Save N validation examples (inputs, outputs, labels) beside the model.")


OWN: tuple[type, ...] = (ModelArguments, DataArguments, RecipeArguments)


@dataclass
class Arguments:
    """All flags of one training command.

    Attributes:
        explicit: Names of the flags that the user gave; the others hold defaults.
    """

    model: ModelArguments
    data: DataArguments
    recipe: RecipeArguments
    training: TrainingArguments
    explicit: frozenset[str] = frozenset()

    @property
    def text_column(self) -> str | None:
        """The column of tokens that was asked for, if any."""
        return self.data.text_column_name or self.data.input_column_names
