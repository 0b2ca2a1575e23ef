"""Flags of text classification alone."""

from __future__ import annotations

from dataclasses import dataclass

from sparsify.tasks.arguments import DataArguments, flag
from sparsify.tasks.text_classification.glue import GLUE, glue_name

PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


@dataclass
class TextArguments(DataArguments):
    """Which data is used, and how texts and labels become model input."""

    task_name: str | None = flag(
        None, f"Task of GLUE ({', '.join(GLUE)}): its data, columns, classes and metrics.", "--task"
    )
    dataset_name: str | None = flag(None, "Data set on the Hub, such as imdb, or a folder laid out like one.")
    train_file: str | None = flag(None, "Training data: .csv .tsv .json .jsonl, also .gz.")
    input_column_names: str | None = flag(
        None, "One column of text or two, as in a,b (default: those of the GLUE task, else those that hold text)."
    )
    text_column_name: str | None = flag(None, "The same as --input_column_names.")
    label_column_name: str | None = flag(None, "Column of labels (default: label, else labels).")
    class_names: str | None = flag(None, "Names of class ids, in order: no,yes or a file with a JSON list.")
    problem_type: str | None = flag(
        None, f"{', '.join(PROBLEMS)} (default: what the labels look like: names or ids, lists, fractions)."
    )
    max_seq_length: int | None = flag(128, "Sub-tokens kept of each example, both texts together.", "--max_length")
    validation_ratio: float | None = flag(None, "Without validation data: this share of the training data, the last.")
    eval_on_test: bool = flag(False, "Use the test data as validation data.")

    def __post_init__(self) -> None:
        self.task_name = glue_name(self.task_name)
        files = (self.train_file, self.validation_file, self.test_file)
        if self.task_name is not None and self.dataset_name is None and not any(files):
            self.dataset_name, self.dataset_config_name = "glue", self.task_name
        if self.task_name is None and self.dataset_name == "glue" and self.dataset_config_name is not None:
            self.task_name = glue_name(self.dataset_config_name)

    @property
    def has_validation(self) -> bool:
        """As in the base class; other data may take its place."""
        return super().has_validation or self.validation_ratio is not None or self.eval_on_test

    @property
    def text_columns(self) -> list[str] | None:
        """The columns of text that were asked for, if any."""
        asked = self.input_column_names or self.text_column_name
        return None if asked is None else [name.strip() for name in asked.split(",") if name.strip()]


DATA = TextArguments
