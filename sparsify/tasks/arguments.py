"""The flags that training tasks add to Hugging Face's TrainingArguments, and what came out of parsing them all."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from sparsify.tasks.distillation_arguments import DistillationArguments
    from sparsify.tasks.pruning_arguments import PruningArguments
    from sparsify.tasks.quantization_arguments import QuantizationArguments


def flag(default: Any, text: str, *aliases: str) -> Any:
    """A field that is a command line flag: its default, its help, other spellings (``--x``)."""
    metadata: dict[str, Any] = {"help": text}
    if aliases:
        metadata["aliases"] = list(aliases)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass
class ModelArguments:
    """Where model, configuration and tokenizer come from."""

    model_name_or_path: str | None = flag(None, "Model to start from: a folder, a zoo: stub or a Hub id.")
    config_name: str | None = flag(None, "Configuration, where it is not the model's own.")
    tokenizer_name: str | None = flag(None, "Tokenizer, where it is not the model's own.")
    cache_dir: str | None = flag(None, "Folder for downloads from the Hub.")
    model_revision: str = flag("main", "Branch, tag or commit of the model on the Hub.")
    token: str | None = flag(None, "Hub token (default: the one of `hf auth login`).")
    use_auth_token: bool = flag(False, "Use the saved Hub token (always done; kept for old command lines).")
    trust_remote_code: bool = flag(False, "Run model code that comes with a Hub repository.")
    zoo: list[str] | None = flag(None, "Folders or addresses of zoos that zoo: stubs are looked up in first.")  # noqa: RUF009 - the default is None
    offline: bool = flag(False, "Never use the network for stubs and the Hub: caches only.")


@dataclass
class DataArguments:
    """Which data is used, and how it becomes model input; each task adds its own columns and options."""

    task_name: str | None = flag(None, "What the data is for.", "--task")
    dataset_name: str | None = flag(None, "Data set on the Hub, or a folder laid out like one.")
    dataset_config_name: str | None = flag(None, "Configuration of that data set.")
    train_file: str | None = flag(None, "Training data.")
    validation_file: str | None = flag(None, "Validation data, same formats.")
    test_file: str | None = flag(None, "Test data, same formats.")
    max_seq_length: int | None = flag(
        None, "Sub-tokens kept of each example (default: what the model takes).", "--max_length"
    )
    pad_to_max_length: bool = flag(False, "Pad each batch to --max_seq_length instead of to its longest example.")
    max_train_samples: int | None = flag(None, "Use only the first N training examples.")
    max_eval_samples: int | None = flag(None, "Use only the first N validation examples.")
    max_predict_samples: int | None = flag(None, "Use only the first N test examples.")
    preprocessing_num_workers: int | None = flag(None, "Threads that the tokenizer may use.")
    overwrite_cache: bool = flag(False, "Nothing is cached between runs; kept for old command lines.")

    @property
    def has_validation(self) -> bool:
        """Whether there is data to evaluate on; of a data set on the Hub that is not known yet, and taken for granted."""
        return bool(self.validation_file or not self.train_file)


DataT = TypeVar("DataT", bound=DataArguments)


@dataclass
class RecipeArguments:
    """How the model gets small."""

    recipe: str | None = flag(None, "Recipe: a file, a zoo: stub or a checkpoint folder.")
    recipe_args: str | None = flag(None, "Values for the recipe's variables: JSON, a JSON/YAML file or k=v,k2=v2.")
    set: list[str] = dataclasses.field(
        default_factory=list,
        metadata={
            "help": "Fields of the recipe's modifiers: GMPruningModifier.final_sparsity=0.8 modifiers[0].end_epoch=2",
            "action": "extend",
            "metavar": "PATH.FIELD=VALUE",
        },
    )
    distill_teacher: str | None = flag(None, "Teacher: a folder, stub or Hub id; self; disable (no distillation).")
    one_shot: bool = flag(False, "Apply the recipe at once, calibrated on training data, instead of training.")
    num_calibration_samples: int | None = flag(
        None, "Training examples used to calibrate (default: the recipe's, else 512; 50 with --apply_quantization)."
    )
    best_model_after_epoch: float | None = flag(None, "With --load_best_model_at_end: ignore earlier epochs.")
    save_compressed: bool = flag(
        False,
        "Store the final weights small: int8 where a layer is quantized, zeros as a bitmask (load_model reads it).",
    )
    inference_with_ort: bool = flag(False, "Evaluate and predict with ONNX Runtime, on the exported model.")
    ort_provider: str | None = flag(None, "Its execution provider, such as cpu or cuda (default: by the device).")
    verify_loading: bool = flag(
        False,
        "Load what was saved in a fresh process and compare outputs, metrics, zeros and bits; exit 1 if not equal.",
    )
    num_export_samples: int = flag(0, "Save N validation examples (inputs, outputs, labels) beside the model.")


@dataclass
class Arguments(Generic[DataT]):
    """All flags of one training command.

    Attributes:
        data: Those of the task.
        explicit: Names of the flags that the user gave; the others hold defaults.
        pruning: Flags that are compiled into a recipe.
        distillation: Further ones.
        quantization: The same.
        compiled: Whether the recipe is made of them.
    """

    model: ModelArguments
    data: DataT
    recipe: RecipeArguments
    training: TrainingArguments
    explicit: frozenset[str] = frozenset()
    pruning: PruningArguments | None = None
    distillation: DistillationArguments | None = None
    quantization: QuantizationArguments | None = None
    compiled: bool = False
