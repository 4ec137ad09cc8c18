"""A run directory becomes a trained model: checkpoints, history.csv, model.keras.

Read `Trainer.train` from top to bottom: it is the whole of training. What is random depends on
(seed, epoch, image) or is kept in the checkpoint, and what is decided follows from the history, so
a run that was killed goes on as if nothing had happened.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace

import keras
import numpy as np

from polyp_core import checkpoints
from polyp_core.checkpoints import Checkpoint
from polyp_core.config import RunConfig, TrainingConfig
from polyp_core.dataset import Index
from polyp_core.errors import RunError
from polyp_core.files import write_atomically
from polyp_core.graph import Step, compile_step, make_deterministic
from polyp_core.history import (
    THRESHOLD,
    append_row,
    check_finite,
    count_unbroken,
    describe_validation,
)
from polyp_core.metrics import evaluate_predictions
from polyp_core.models import (
    assign_arrays,
    averaged_weights,
    build_model,
    copy_arrays,
    is_backbone_resting,
    list_variables,
    make_model,
    make_step,
)
from polyp_core.networks import load_backbone
from polyp_core.pipeline import TrainingBatches, weigh_patients
from polyp_core.reporting import WorkStopped
from polyp_core.runs import Run
from polyp_core.schedules import compute_rate, find_best_epoch, has_lost_patience
from polyp_core.weights import record_model
from polyp_core.words import say_number

Report = Callable[..., None]
_CHECKPOINT_EVERY_S = 30.0  # within an epoch
_NUM_BUFFERS = 2  # a state that is being written, and the next


class Trainer:
    """Trains one run, or goes on with it where its newest checkpoint stands.

    Args:
        run: Where to write.
        config: All settings.
        index: The images with their split.
        images: `(n, size, size, channels)` uint8 of the whole index.
        report: Called with what goes into status.json; raises `WorkStopped` when somebody
            asks for it.
    """

    def __init__(
        self, run: Run, config: RunConfig, index: Index, images: np.ndarray, report: Report
    ) -> None:
        self._run, self._settings, self._report = run, config.training, report
        self._config, self._images = config, images
        train, self._validation = index.select("train"), index.select("validation")
        labels = train["label"].to_numpy()
        if self._settings.shuffled_labels:
            labels = np.random.default_rng(self._settings.seed).permutation(labels)
        chances = find_chances(self._settings, train["group"].to_numpy())
        self._class_weights = _weigh_classes(labels, self._settings, chances)
        self._batches = TrainingBatches(
            images=images,
            image_numbers=train.index.to_numpy(),
            labels=labels,
            augmentation=config.augmentation,
            batch_size=self._settings.batch_size,
            seed=self._settings.seed,
            chances=chances,
        )
        self._history = run.read_history()
        self._writer = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        self._rate: float | None = None  # that the optimizer was given
        self._steps: dict[bool, Step] = {}
        self._buffers: deque[list[np.ndarray]] = deque()

    def train(self) -> None:
        """Train until the last epoch, early stopping or, once there is an epoch, the `finish` file.

        Writes history.csv, milestones.json and checkpoints/ as it goes, model.keras,
        its sha256 in model.json and model.weights.h5 (the kept state) at the end.

        Raises:
            WorkStopped: From `report`; the state of this very step is kept.
            RunError: If the loss is not a number any more, or no checkpoint can be used.
        """
        settings = self._settings
        keras.utils.set_random_seed(settings.seed)
        make_deterministic()
        started = time.monotonic()
        self._model = make_model(self._config)
        state = self._restore()
        self._report(build_s=round(time.monotonic() - started, 3))
        try:
            # An epoch that was broken off is finished in any case: only whole ones are validated.
            while state.epoch < settings.epochs and (state.step or not self._is_enough()):
                state = self._finish_epoch(self._train_epoch(state))
            self._wait_for_writer()
        finally:
            self._writer.shutdown()
        self._save_model(state)

    def _is_enough(self) -> bool:
        is_asked = self._run.path("finish").exists() and not self._history.empty
        return is_asked or has_lost_patience(self._settings, self._history)

    def _train_epoch(self, state: Checkpoint) -> Checkpoint:
        """The rest of an epoch's steps; at a stop and from time to time their state is kept."""
        epoch, sums, step = state.epoch + 1, state.sums.copy(), state.step
        self._epoch_started = kept_at = time.monotonic()
        try:
            for images, labels in self._batches.iterate_epoch(epoch, step):
                logs = self.train_step(epoch, step, images, labels)
                sums += len(images) * np.array([logs["cross_entropy"], logs["accuracy"], 1.0])
                step += 1
                self._show(epoch, step, int(sums[2]), images, labels)
                if time.monotonic() - kept_at > _CHECKPOINT_EVERY_S:
                    self._write(self._take_state(state, step, sums))
                    kept_at = time.monotonic()
        except WorkStopped:
            self._write(self._take_state(state, step, sums))
            self._wait_for_writer()
            raise
        return self._take_state(state, step, sums)

    def train_step(
        self, epoch: int, step: int, images: np.ndarray, labels: np.ndarray
    ) -> dict[str, float]:
        """One step of the optimizer.

        Args:
            epoch: Counted from 1.
            step: Steps of this epoch that are done.
            images: `(batch, size, size, channels)` uint8.
            labels: `(batch, 1)` float32.

        Returns:
            Plain cross-entropy and accuracy of the batch before the step.
        """
        rate = self._compute_rate(epoch, step)
        if rate != self._rate:  # setting it takes as long as the rest around a step
            self._model.optimizer.learning_rate = self._rate = rate
        weights = self._class_weights
        more = [] if weights is None else [weights[labels[:, 0].astype(int)]]
        self._model.reset_metrics()
        logs = self._get_step(epoch)(images, labels, *more)
        return {name: float(logs[name]) for name in ("cross_entropy", "accuracy")}

    def _compute_rate(self, epoch: int, step: int) -> float:
        progress = (epoch - 1 + (step + 0.5) / self._batches.num_steps) / self._settings.epochs
        return compute_rate(self._settings, progress, self._history)

    def _get_step(self, epoch: int) -> Step:
        """The compiled step; one for the epochs in which a backbone rests, another afterwards."""
        is_resting = is_backbone_resting(self._config, epoch)
        if is_resting not in self._steps:
            self._steps[is_resting] = compile_step(
                make_step(self._model, self._config, is_resting=is_resting),
                self._images.shape[1:],
                is_weighted=self._class_weights is not None,
            )
        return self._steps[is_resting]

    def _show(
        self, epoch: int, step: int, num_done: int, images: np.ndarray, labels: np.ndarray
    ) -> None:
        num_images, epochs = len(self._batches.image_numbers), self._settings.epochs
        self._report(
            message=f"Epoch {epoch} of {epochs}",
            epoch=epoch,
            epochs=epochs,
            step=step,
            steps=self._batches.num_steps,
            learning_rate=self._rate,
            images_trained=(epoch - 1) * num_images + num_done,
            images_in_all=epochs * num_images,
            batch=(images, labels[:, 0].astype(int).tolist()),
        )

    def _finish_epoch(self, trained: Checkpoint) -> Checkpoint:
        """Validate, decide whether this is the best epoch, and hand all of it to the writer."""
        epoch, settings = trained.epoch + 1, self._settings
        with averaged_weights(self._model, settings.ema > 0):
            try:
                self._report(message=f"Epoch {epoch} of {settings.epochs}: validating")
                labels, probabilities = self._validate()
            except WorkStopped:
                self._write(trained)
                self._wait_for_writer()
                raise
            row = {
                "epoch": epoch,
                "loss": float(trained.sums[0] / trained.sums[2]),
                "accuracy": float(trained.sums[1] / trained.sums[2]),
                **describe_validation(labels, probabilities),
                "learning_rate": self._compute_rate(epoch, self._batches.num_steps - 1),
                "seconds": round(time.monotonic() - self._epoch_started, 3),
            }
            check_finite(row, settings)
            self._history = append_row(self._history, row)
            best_epoch, best_weights = trained.best_epoch, trained.best_weights
            if settings.keep == "best" and find_best_epoch(settings, self._history) == epoch:
                best_epoch, best_weights = epoch, copy_arrays(self._model.weights)
        state = replace(
            trained, epoch=epoch, step=0, sums=np.zeros(3), row=row, best_epoch=best_epoch,
            best_weights=best_weights,
        )  # fmt: skip
        self._write(state, probabilities if epoch in settings.milestones else None)
        return state

    def _validate(self) -> tuple[np.ndarray, np.ndarray]:
        numbers, parts = self._validation.index.to_numpy(), []
        for start in range(0, len(numbers), 32):
            parts.append(self._model.predict_on_batch(self._images[numbers[start : start + 32]]))
            self._report()
        return self._validation["label"].to_numpy(), np.concatenate(parts)[:, 0]

    def _take_state(self, before: Checkpoint, step: int, sums: np.ndarray) -> Checkpoint:
        """The state now. Its arrays are used again at the next but one, which is after its writing.

        New memory for each would cost ten times the copying.
        """
        oldest = self._buffers.popleft() if len(self._buffers) == _NUM_BUFFERS else None
        arrays = copy_arrays(list_variables(self._model), oldest)
        self._buffers.append(arrays)
        return replace(before, step=step, sums=sums.copy(), variables=arrays)

    def _write(self, state: Checkpoint, milestone: np.ndarray | None = None) -> None:
        """Write in the background, one after the other; an error comes up at the next call.

        The history's row follows its checkpoint, so every epoch that can be seen is kept.
        """
        self._wait_for_writer()

        def write() -> None:
            if milestone is not None:
                predictions = self._validation.assign(probability=milestone)
                result = evaluate_predictions(predictions, THRESHOLD)
                known = {str(epoch): seen for epoch, seen in self._run.read_milestones().items()}
                self._run.write_json("milestones.json", known | {str(state.epoch): result})
            checkpoints.write_checkpoint(self._run, state)
            if state.step == 0:
                self._run.append_history(state.row)

        self._writing = self._writer.submit(write)

    def _wait_for_writer(self) -> None:
        """Until the writer is done; a stop is heard meanwhile, so that it is given its time."""
        while self._writing is not None:
            if wait([self._writing], timeout=0.2).done:
                self._writing.result()
                self._writing = None
            else:
                with contextlib.suppress(WorkStopped):  # obeyed at the next step
                    self._report()

    def _restore(self) -> Checkpoint:
        """Set the model to the newest checkpoint that can be read, and the history with it."""
        history = self._run.read_history()
        num_known = count_unbroken(history)
        variables, start = list_variables(self._model), None
        for path in checkpoints.read_checkpoints(self._run):
            try:
                state = checkpoints.read_checkpoint(path)
            except ValueError as error:
                print(f"A checkpoint cannot be used, trying the one before: {error}", flush=True)
                continue
            # The row of its epoch may not have been written any more.
            if num_known >= state.epoch - bool(state.row):
                assign_arrays(variables, state.variables, path.name)
                start = state
                break
        if start is None:
            start = self._begin(num_known)
        checkpoints.discard_newer(self._run, start)
        self._run.cut_history(start.epoch)
        self._run.cut_milestones(start.epoch)
        if num_known < start.epoch:
            self._run.append_history(start.row)
        self._history = self._run.read_history()
        return start

    def _begin(self, num_known: int) -> Checkpoint:
        """The state before the first step, if there has been none."""
        if num_known:
            raise RunError(
                f"No checkpoint of run '{self._run.name}' can be used, though its history has "
                f"{say_number(num_known, 'epoch')}; worker.log says why. Expected at least one "
                "that is whole. Start a new run with these settings; this one stays as it is."
            )
        if self._config.model.network == "transfer":
            is_own = bool(self._config.model.backbone_weights)
            source = " from your file" if is_own else "; the first time they are fetched"
            self._report(message=f"Reading the weights of the backbone{source}")
            load_backbone(self._model, self._config.model)
        variables = copy_arrays(list_variables(self._model))
        return Checkpoint(epoch=0, step=0, variables=variables, sums=np.zeros(3))

    def _save_model(self, state: Checkpoint) -> None:
        """Write the kept state, always in 32 bit."""
        model = build_model(self._config.model)
        weights = state.best_weights
        if weights is None:
            with averaged_weights(self._model, self._settings.ema > 0):
                weights = copy_arrays(self._model.weights)
        assign_arrays(model.weights, weights, "the kept weights")
        write_atomically(self._run.path("model.keras"), model.save)
        record_model(self._run.directory)
        write_atomically(self._run.path("model.weights.h5"), model.save_weights)


def find_chances(settings: TrainingConfig, groups: np.ndarray) -> np.ndarray | None:
    """Each image's chance to be drawn for an epoch; None where each is taken once."""
    return weigh_patients(groups) if settings.sampling == "patients" else None


def _weigh_classes(
    labels: np.ndarray, settings: TrainingConfig, chances: np.ndarray | None = None
) -> np.ndarray | None:
    """Weights of the negative and the positive class, one on average over the images drawn."""
    if settings.class_weights == "none":
        return None
    shares = np.bincount(labels, weights=chances, minlength=2)
    shares = shares / shares.sum()
    return np.asarray(1 / (2 * np.maximum(shares, 1e-6)), dtype=np.float32)
