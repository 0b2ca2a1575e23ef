"""The F1 of guessing: a span of words at a random place of the context, as long as some training answer.

    python tests/benchmarks/random_spans.py --train train.jsonl.gz --data validation.jsonl

What a model that answers questions must beat. SQuAD's metrics; the mean and the spread over draws.
"""

from __future__ import annotations

import argparse
import random
import statistics

from sparsify.tasks.question_answering.answers import Answer
from sparsify.tasks.question_answering.columns import questions
from sparsify.tasks.question_answering.metrics import squad_metrics
from sparsify.tasks.readers import read_table


def main() -> None:
    """Print the mean exact match and F1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="questions whose answers' lengths are drawn from")
    parser.add_argument("--data", required=True, help="questions to answer")
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lengths = [len(answer.text.split()) for _, answers in _read(args.train) for answer in answers]
    data = _read(args.data)
    golds = [[answer.text for answer in answers] for _, answers in data]
    rng = random.Random(args.seed)
    found = [squad_metrics([_guess(context, lengths, rng) for context, _ in data], golds) for _ in range(args.draws)]
    for name in ("exact_match", "f1"):
        values = [one[name] for one in found]
        print(f"{name:12} {statistics.mean(values):5.2f} (standard deviation {statistics.stdev(values):.2f})")


def _read(path: str) -> list[tuple[str, list[Answer]]]:
    """Context and answers of each question."""
    split = questions(read_table(path), columns=None, label=None, labelled=True, negatives=False)
    return list(zip(split.contexts, split.answers or [], strict=True))


def _guess(context: str, lengths: list[int], rng: random.Random) -> str:
    words = context.split()
    begin = rng.randrange(len(words))
    return " ".join(words[begin : begin + rng.choice(lengths)])


if __name__ == "__main__":
    main()
