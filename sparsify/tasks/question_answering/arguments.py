"""Flags of question answering alone."""

from __future__ import annotations

from dataclasses import dataclass

from sparsify.tasks.arguments import DataArguments, flag


@dataclass
class QuestionArguments(DataArguments):
    """Which data is used, and how questions, contexts and answers become model input."""

    dataset_name: str | None = flag(
        None, "Data set on the Hub, such as squad or squad_v2, or a folder laid out like one."
    )
    train_file: str | None = flag(None, "Training data: SQuAD's own .json, or .csv .tsv .json .jsonl rows, also .gz.")
    input_column_names: str | None = flag(None, "Columns of question and context, as in q,text [question,context].")
    text_column_name: str | None = flag(None, "The same as --input_column_names.")
    label_column_name: str | None = flag(None, "Column of answers (default: answers, else answer).")
    max_seq_length: int | None = flag(
        384, "Sub-tokens of question and context together; longer contexts are read in several windows.", "--max_length"
    )
    doc_stride: int | None = flag(
        None,
        "Sub-tokens that neighbouring windows share (128, or a third of --max_seq_length where that is less).",
    )
    version_2_with_negative: bool = flag(False, "Questions may have no answer, as in SQuAD 2.0.")
    null_score_diff_threshold: float = flag(
        0.0, "With --version_2_with_negative: no answer where its score is above the best span's by more than this."
    )
    n_best_size: int = flag(20, "Candidates kept of each question.")
    max_answer_length: int = flag(30, "Sub-tokens of the longest answer.")

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns of question and context that were asked for, if any."""
        asked = self.input_column_names or self.text_column_name
        return None if asked is None else tuple(name.strip() for name in asked.split(",") if name.strip())


DATA = QuestionArguments
