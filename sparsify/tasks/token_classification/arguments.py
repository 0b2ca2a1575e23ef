"""Flags of token classification alone."""

from __future__ import annotations

from dataclasses import dataclass

from sparsify.tasks.arguments import DataArguments, flag


@dataclass
class TokenArguments(DataArguments):
    """Which data is used, and how words and tags become model input."""

    task_name: str = flag("ner", "What is tagged (ner, pos, chunk): names the default label column.", "--task")
    dataset_name: str | None = flag(None, "Data set on the Hub, such as conll2003 or wnut_17.")
    train_file: str | None = flag(None, "Training data: .csv .tsv .json .jsonl .conll .txt, also .gz.")
    text_column_name: str | None = flag(None, "Column of tokens (default: tokens, else the first column).")
    input_column_names: str | None = flag(None, "The same as --text_column_name.")
    label_column_name: str | None = flag(None, "Column of tags (default: <task_name>_tags, else the second column).")
    class_names: str | None = flag(None, "Names of class ids, in order: O,B-PER,... or a file with a JSON list.")
    label_all_tokens: bool = flag(False, "Label every sub-token of a word, not only the first (B- becomes I-).")
    return_entity_level_metrics: bool = flag(False, "Report each entity type on its own as well.")

    def __post_init__(self) -> None:
        normal = self.task_name.lower().replace("-", "_").replace(" ", "_")
        self.task_name = "ner" if normal == "token_classification" else normal  # --task may name the kind of model

    @property
    def text_column(self) -> str | None:
        """The column of tokens that was asked for, if any."""
        return self.text_column_name or self.input_column_names


DATA = TokenArguments
