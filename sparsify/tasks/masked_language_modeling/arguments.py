"""Flags of masked language modeling alone."""

from __future__ import annotations

from dataclasses import dataclass

from sparsify.tasks.arguments import DataArguments, flag


@dataclass
class MaskedArguments(DataArguments):
    """Which texts are used, and how they become model input."""

    dataset_name: str | None = flag(None, "Data set on the Hub, such as wikitext, or a folder laid out like one.")
    train_file: str | None = flag(None, "Training texts: .txt (a text on each line), .csv .tsv .json .jsonl, also .gz.")
    text_column_name: str | None = flag(
        None, "Column of texts (default: text, else the first that holds any).", "--input_column_names"
    )
    mlm_probability: float = flag(0.15, "Share of the tokens to be guessed.")
    line_by_line: bool = flag(
        False, "Each text is an example, cut to --max_seq_length (default: texts in a row, cut into full blocks)."
    )
    validation_split_percentage: float | None = flag(
        None, "Without validation data: so many percent of the training texts, the last."
    )


DATA = MaskedArguments
