"""Share a recipe and the model it made: publish, serve over HTTP, fetch by stub, train on from it.

Run it with ``python tutorials/share_a_recipe.py --output_dir runs/share`` (about a minute on a CPU, no network). The
commands are the ones that you would type; the web server is Python's own, on this machine.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shlex
import threading
from collections.abc import Callable
from pathlib import Path

import sparsify
from sparsify.cli import export, train, zoo
from sparsify.tasks.demo_corpus import write_corpus, write_model
from sparsify.zoo import Model

STUB = "zoo:nlp/token_classification/bert-mini/pytorch/huggingface/made_up/pruned60-none"
RECIPE = """
num_epochs: 2
sparsity: 0.6

modifiers:
  - !EpochRangeModifier {start_epoch: 0.0, end_epoch: eval(num_epochs)}
  - !LearningRateFunctionModifier
    {start_epoch: 0, end_epoch: eval(num_epochs), lr_func: linear, init_lr: 1e-3, final_lr: 0}
  - !GMPruningModifier
    params: ['re:.*encoder.*(query|key|value|dense).weight']
    init_sparsity: 0.0
    final_sparsity: eval(sparsity)
    start_epoch: 0.0
    end_epoch: eval(num_epochs / 2)
    update_frequency: 0.1
"""


def command(main: Callable[[list[str]], int], name: str, *words: object) -> str:
    """Run a command of sparsify's as the shell would, and return how it was written."""
    argv = [str(word) for word in words]
    written = shlex.join([name, *argv])
    print(f"$ {written}")
    if code := main(argv):
        raise SystemExit(code)
    return written


def serve(folder: Path) -> str:
    """Serve a folder on this machine; any web server that serves files will do."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/share"))
    parser.add_argument("--sentences", type=int, default=800)
    options = parser.parse_args()
    work = options.output_dir.resolve()
    os.environ["SPARSIFY_CACHE"] = str(work / "cache")  # what a visitor of the zoo fetches stays in this folder too

    files = write_corpus(work / "data")
    start = write_model(work / "start", files["train"])
    (work / "recipe.yaml").write_text(RECIPE)
    data = ["--train_file", files["train"], "--validation_file", files["validation"]]
    data += ["--max_train_samples", options.sentences, "--do_train", "--do_eval", "--report_to", "none"]

    run = work / "run"
    task = [
        "token_classification",
        "--model_name_or_path",
        start,
        "--recipe",
        work / "recipe.yaml",
        "--output_dir",
        run,
    ]
    measured_by = command(train.main, "sparsify-train", *task, *data)
    command(export.main, "sparsify-export", "--model_path", run)

    # checks first: the recipe is valid, the weights load, the ONNX file equals the model, there are metrics
    shared = work / "zoo"
    about = ["--measured_by", measured_by, "--licence", "Apache-2.0", "--replace"]
    command(zoo.main, "sparsify-zoo", "publish", run, STUB, "--zoo", shared, *about)
    command(zoo.main, "sparsify-zoo", "verify", shared)

    # somebody else, who knows the address and the stub
    os.environ["SPARSIFY_ZOO"] = serve(shared)
    command(zoo.main, "sparsify-zoo", "list", "made_up")
    command(zoo.main, "sparsify-zoo", "info", STUB)

    zoo_model = Model(STUB, download_path=work / "fetched")
    print(f"the recipe is in {zoo_model.recipes.default.path}")
    print(f"epochs of the recipe: {sparsify.load_recipe(STUB, recipe_args={'num_epochs': 1}).max_epochs}")

    again = ["token_classification", "--model_name_or_path", STUB, "--recipe", STUB, "--recipe_args", "num_epochs=1"]
    command(train.main, "sparsify-train", *again, "--output_dir", work / "again", *data)
    print(f"trained on from {STUB}")


if __name__ == "__main__":
    main()
