"""Runs a prepared job: train or one shot, evaluate, predict, save."""

from __future__ import annotations

import logging
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import set_seed

from sparsify.errors import InputError
from sparsify.export.checkpoint import RECIPE_FILE
from sparsify.export.compressed import compress, onto_grid
from sparsify.tasks.accuracy import check_goal, within_tolerance
from sparsify.tasks.arguments import Arguments
from sparsify.tasks.base import AnyTask, Job, Result
from sparsify.tasks.calibration import calibration_batches
from sparsify.tasks.compiled import compile_flags
from sparsify.tasks.composition import following
from sparsify.tasks.consent import settle
from sparsify.tasks.folders import NoRecipe, checkpoint_to_resume, drop_other_weights, move_into, set_aside, writable
from sparsify.tasks.loading import Compared, verify_loading
from sparsify.tasks.measuring import check_inference, measure_splits
from sparsify.tasks.prepare import make_trainer, prepare, save_results
from sparsify.tasks.recipes import load_manager, teacher_of
from sparsify.tasks.samples import save_samples
from sparsify.tasks.stop import stops_cleanly
from sparsify.tasks.teacher_cache import keep_teacher
from sparsify.tasks.training_values import check_values

if TYPE_CHECKING:
    from transformers import Trainer

    from sparsify.manager import ModifierManager

logger = logging.getLogger(__name__)


def run(task: AnyTask, args: Arguments[Any]) -> Result:
    """Everything a training command does, from flags to files.

    Raises:
        SparsifyError: Anything the user can mend; cheap checks come before data and model are loaded.
    """
    check_values(args)
    compile_flags(args, task.kind.outputs)
    _what_to_do(task, args)
    check_inference(args)
    folder = writable(args.training.output_dir, "output_dir" in args.explicit)
    manager = load_manager(args.recipe)
    settle(args, manager)
    resume = checkpoint_to_resume(args.training.resume_from_checkpoint, folder)
    set_seed(args.training.seed)
    job = prepare(task, args)
    manager = following(job, manager)
    teacher = teacher_of(args, manager, job)
    trainer = make_trainer(job)
    check_goal(job, trainer, manager)
    if args.recipe.one_shot and manager is not None:
        job.model.to(args.training.device)
        manager.apply(job.model, calibration_data=calibration_batches(job, manager))
    teacher = keep_teacher(job, trainer, manager, teacher)
    if manager is not None and not args.recipe.one_shot:
        manager.wrap(trainer, teacher=teacher)
    if manager is None:
        trainer.add_callback(NoRecipe())
    return _run(job, trainer, manager, folder, resume)


def _run(
    job: Job, trainer: Trainer, manager: ModifierManager | None, folder: Path, resume: str | bool | None
) -> Result:
    args, metrics = job.args, dict[str, Any]()
    result = Result(metrics, folder, job.model)
    if args.training.do_train and not args.recipe.one_shot:
        with stops_cleanly(trainer) as stop:
            metrics |= trainer.train(resume_from_checkpoint=resume).metrics
        if stop.asked and trainer.state.global_step < trainer.state.max_steps:
            result.interrupted, result.terminated = True, stop.signal == signal.SIGTERM
            return result
        if manager is not None and manager.post_training:
            manager.calibrate(job.model, calibration_batches(job, manager))
    saved = args.training.do_train or args.recipe.one_shot
    if saved and manager is not None and manager.post_training:
        manager = within_tolerance(job, trainer, manager)
    if saved:
        _save(job, trainer, manager, folder)
    result.measured_by = measure_splits(job, trainer, _recipe_text(job, manager), folder, metrics)
    if trainer.is_world_process_zero():
        save_results(metrics, folder)
        _samples(job, folder)
        result.compared = _verify(job, folder, saved)
    return result


def _recipe_text(job: Job, manager: ModifierManager | None) -> str | None:
    """Of the recipe that made the model."""
    if manager is not None:
        return manager.record.text
    return None if job.own_recipe is None else job.own_recipe.read_text(encoding="utf-8")


def _verify(job: Job, folder: Path, saved: bool) -> list[Compared]:
    if not job.args.recipe.verify_loading:
        return []
    if not saved:
        logger.warning("--verify_loading has no effect: nothing was saved, since nothing was trained or compressed")
        return []
    return verify_loading(job, folder)


def _save(job: Job, trainer: Trainer, manager: ModifierManager | None, folder: Path) -> None:
    fresh = folder / ".saving"
    if trainer.is_world_process_zero():
        shutil.rmtree(fresh, ignore_errors=True)  # of a run that ended while it saved
    trainer.save_model(str(fresh))
    trainer.save_state()
    if not trainer.is_world_process_zero():
        return
    if job.args.recipe.save_compressed:
        onto_grid(job.model)  # what is reported and compared from here on is what the folder holds
        logger.info("%s", compress(fresh, job.model))
    move_into(fresh, folder)
    drop_other_weights(folder, compressed=job.args.recipe.save_compressed)
    if manager is not None:
        manager.record.save(folder / RECIPE_FILE)
    elif job.own_recipe is None:
        set_aside(folder / RECIPE_FILE)  # of an earlier run: load_model would build its structure
    elif job.own_recipe.parent.resolve() != folder.resolve():
        shutil.copyfile(job.own_recipe, folder / RECIPE_FILE)  # load_model needs it to build the same structure


def _samples(job: Job, folder: Path) -> None:
    count = job.args.recipe.num_export_samples
    if count > 0:
        split = next((job.reading.encoded[s] for s in ("validation", "train") if s in job.reading.encoded), None)
        if split is None:
            raise InputError("--num_export_samples takes labelled examples: give --validation_file or --train_file")
        collate = job.task.collator(job.reading.tokenizer)
        save_samples(job.model, split.features[:count], collate, folder, outputs=job.task.kind.outputs)


def _what_to_do(task: AnyTask, args: Arguments[Any]) -> None:
    training = args.training
    # transformers sets do_eval itself where --eval_strategy is given
    evaluates = training.do_eval and not ("eval_strategy" in args.explicit and "do_eval" not in args.explicit)
    asked = training.do_train or evaluates or training.do_predict or args.recipe.one_shot
    if args.recipe.one_shot and training.do_train:
        logger.warning("--do_train has no effect: --one_shot applies the recipe at once, without training")
    if not asked and task.trains_unasked:
        training.do_train = True
        training.do_eval = training.do_eval or args.data.has_validation
        logger.info(
            "none of --do_train, --do_eval, --do_predict is given: training%s", " and evaluating" * training.do_eval
        )
    elif not asked:
        raise InputError("nothing to do: give --do_train, --do_eval, --do_predict or --one_shot")
    if args.recipe.one_shot and not args.recipe.recipe:
        raise InputError("--one_shot applies a recipe: give --recipe")
    if args.recipe.recipe and not (training.do_train or args.recipe.one_shot):
        logger.warning(
            "the recipe has no effect: nothing is trained; give --do_train, or --one_shot to apply it at once"
        )
