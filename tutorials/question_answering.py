"""Answer questions with a small int8 model: teach a dense one, make it sparse and int8 under its eye, export it, ask it.

Run it with ``python tutorials/question_answering.py --output_dir runs/answers`` (a few minutes on a CPU, no network). The
questions are made up from a small corpus; some have no answer, as in SQuAD 2.0. docs/question-answering.md explains the
flags; with real data only the files and the model to start from differ.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from pathlib import Path

from sparsify.cli import export, train
from sparsify.export.answer import QuestionAnswerer
from sparsify.tasks.demo_corpus import write_corpus, write_model

# Half of the encoder's weights are removed in the first two epochs, quantizers come in at epoch 2, and all along the
# model also learns how sure the dense one is of each start and each end.
RECIPE = """
num_epochs: 4
sparsity: 0.5
modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier
    {start_epoch: 0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: 1e-3, final_lr: 0}
  - !GMPruningModifier
    params: ['re:.*encoder.*(query|key|value|dense).weight']
    init_sparsity: 0.0
    final_sparsity: eval(sparsity)
    start_epoch: 0.0
    end_epoch: 2.0
    update_frequency: 0.1
  - !QuantizationModifier {start_epoch: 2.0, disable_quantization_observer_epoch: 3.5}
  - !DistillationModifier {hardness: 0.7, temperature: 2.0, distill_output_keys: [start_logits, end_logits]}
"""
QUESTIONS = {"PERSON": "Which person is it about ?", "LOCATION": "Which place is it about ?"}


def questions(file: Path, count: int) -> list[dict]:
    """One question about each of the first ``count`` sentences that name at most one person, or at most one place."""
    rows = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()):
        sentence = json.loads(line)
        kind = list(QUESTIONS)[number % 2]
        context, spans = "", []
        for word, tag in zip(sentence["tokens"], sentence["ner_tags"], strict=True):
            context += " " if context else ""
            if tag == f"B-{kind}":
                spans.append([len(context), 0])
            context += word
            if tag.endswith(f"-{kind}"):
                spans[-1][1] = len(context)
        if len(spans) <= 1:
            answers = {"text": [context[a:b] for a, b in spans], "answer_start": [a for a, _ in spans]}
            rows.append({"id": str(number), "question": QUESTIONS[kind], "context": context, "answers": answers})
    return rows[:count]


def command(main: Callable[[list[str]], int], name: str, *words: object) -> None:
    """Run a command of sparsify's as the shell would."""
    argv = [str(word) for word in words]
    print(f"$ {shlex.join([name, *argv])}")
    if code := main(argv):
        raise SystemExit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/answers"))
    parser.add_argument("--questions", type=int, default=2000)
    options = parser.parse_args()
    work = options.output_dir

    corpus = write_corpus(work / "corpus")
    files = {}
    for split, path in corpus.items():
        files[split] = work / f"{split}.jsonl"
        rows = questions(path, options.questions)
        files[split].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    start = write_model(work / "start", corpus["train"])
    (work / "recipe.yaml").write_text(RECIPE, encoding="utf-8")

    data = ["--train_file", files["train"], "--validation_file", files["validation"], "--version_2_with_negative"]
    flags = [*data, "--max_seq_length", "96", "--per_device_train_batch_size", "32", "--report_to", "none"]
    task = ["question_answering", "--do_train", "--do_eval", *flags]
    dense, small = work / "dense", work / "small"
    rates = ["--num_train_epochs", "6", "--learning_rate", "1e-3"]
    command(train.main, "sparsify-train", *task, "--model_name_or_path", start, "--output_dir", dense, *rates)
    taught = ["--recipe", work / "recipe.yaml", "--distill_teacher", dense]
    command(train.main, "sparsify-train", *task, "--model_name_or_path", dense, "--output_dir", small, *taught)
    # torch and ONNX Runtime are compared on real questions, and measured on the validation file
    check = ["--samples", files["test"], "--eval", files["validation"], "--max_seq_length", "96"]
    command(export.main, "sparsify-export", "--model_path", small, *check)

    answerer = QuestionAnswerer(small / "deployment")
    asked = questions(corpus["test"], 6)
    for row, said in zip(asked, answerer([(row["question"], row["context"]) for row in asked]), strict=True):
        print(f"{row['context']}\n  {row['question']} {said.text or '(no answer)'}")
    report = json.loads((small / "deployment" / "report.json").read_text(encoding="utf-8"))
    for runtime, metrics in report["metrics"].items():
        print(f"F1 in {runtime}: {metrics['f1']:.1f}")


if __name__ == "__main__":
    main()
