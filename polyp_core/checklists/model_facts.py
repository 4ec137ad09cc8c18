"""What a run knows of its network and its training, in sentences; "" where it does not know."""

from dataclasses import asdict

from polyp_core.checklists.facts import Facts
from polyp_core.config import ModelConfig, TrainingConfig
from polyp_core.errors import ConfigError
from polyp_core.network_size import measure_network
from polyp_core.presets import PRESETS
from polyp_core.schedules import find_kept_epoch
from polyp_core.words import make_visible, say_duration, say_number

_MONITORS = {
    "val_loss": "the lowest validation loss",
    "val_accuracy": "the highest validation accuracy",
    "val_auc": "the highest validation AUC",
    "loss": "the lowest training loss",
    "accuracy": "the highest training accuracy",
}
_OPTIMIZERS = {"rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}
_MAX_CHANGES = 12


def say_kind(facts: Facts) -> str:
    """What technology it is."""
    return (
        "A convolutional neural network (deep learning, supervised) that classifies single "
        f"ultrasound images as '{facts.class_names[1]}' or '{facts.class_names[0]}'."
    )


def say_network(facts: Facts) -> str:
    """Every part of the network from input to output."""
    model = facts.config.model
    colours = "grey" if model.channels == 1 else "RGB"
    size = model.image_size_px
    head = "global average pooling" if model.head == "average" else "flattening"
    dense = f", a dense layer of {model.dense_units} units (ReLU)" if model.dense_units else ""
    try:
        weights = f" {measure_network(model).num_weights:,} numbers in its weights file."
    except ConfigError:
        weights = ""
    return (
        f"Input {size} × {size} px, {colours}; {_say_body(model)}; {head}{dense}, dropout of "
        f"{100 * model.dropout:g} %; one sigmoid unit.{weights}"
    )


def say_output(facts: Facts) -> str:
    """What it answers."""
    negative, positive = facts.class_names
    return (
        f"For each image a probability from 0 to 1 of '{positive}'; a patient's is the mean over "
        f"the patient's images. From the threshold on the answer is '{positive}', below it "
        f"'{negative}'."
    )


def say_start(facts: Facts) -> str:
    """Where the weights started."""
    model, seeds = facts.config.model, facts.say_seeds()
    if model.network != "transfer":
        return f"Random, by Keras' defaults (Glorot uniform; biases zero), with {seeds}."
    if facts.origin.has_own_backbone_weights:
        source = "a file of weights that was given"
    elif facts.is_imported and not facts.origin.is_shared:
        source = "weights that the other computer had"
    else:
        source = "Keras' weights for ImageNet"
    return f"The backbone {model.backbone} from {source}; its head at random, with {seeds}."


def say_training(facts: Facts) -> str:
    """How the weights were fitted."""
    if not facts.is_trained:
        return ""
    training, history = facts.config.training, facts.history
    epochs = f"{len(history)} of " if 0 < len(history) < training.epochs else ""
    if facts.study is not None:
        epochs = "Each member: " + "up to " * bool(training.early_stopping_patience)
    parts = [
        f"{epochs}{say_number(training.epochs, 'epoch')} of batches of {training.batch_size}",
        f"{_OPTIMIZERS[training.optimizer]} at a learning rate of {training.learning_rate:g} "
        f"({_say_schedule(training)})",
        "binary cross-entropy",
    ]
    if training.label_smoothing:
        parts.append(f"labels smoothed by {training.label_smoothing:g}")
    if training.weight_decay:
        parts.append(f"weight decay {training.weight_decay:g}")
    if training.gradient_clip:
        parts.append(f"gradients clipped at {training.gradient_clip:g}")
    if training.ema:
        parts.append(f"weights averaged over steps ({training.ema:g})")
    if training.mixed_precision:
        parts.append("16 bit where the device profits")
    if training.sampling == "patients":
        parts.append("each patient drawn as often as any other")
    if facts.config.model.network == "transfer":
        parts.append(
            f"backbone at rest for {say_number(training.frozen_epochs, 'epoch')}, then at "
            f"{training.backbone_rate:g} of the learning rate"
        )
    control = " A control: the training labels were dealt out at random." * training.shuffled_labels
    return f"{'; '.join(parts)}; {facts.say_seeds()}.{control}"


def say_choices(facts: Facts) -> str:
    """What differs from the preset; how often anything was tried, a run cannot know."""
    preset = PRESETS.get(facts.config.preset)
    if preset is None:
        return ""
    known = preset.config.to_dict()
    changed = [
        f"{section}.{name}"
        for section in ("augmentation", "model", "training")
        for name, value in asdict(getattr(facts.config, section)).items()
        if value != known[section][name]
    ]
    if not changed:
        return f"All settings are those of the preset '{preset.name}'."
    shown = ", ".join(changed[:_MAX_CHANGES]) + (", …" if len(changed) > _MAX_CHANGES else "")
    return f"The settings are those of the preset '{preset.name}', but for {shown}."


def say_selection(facts: Facts) -> str:
    """Which state of the training became the model."""
    if not facts.has_model:
        return ""
    training = facts.config.training
    stop = (
        f" Training stops after {say_number(training.early_stopping_patience, 'epoch')} without "
        "a better one."
        if training.early_stopping_patience
        else ""
    )
    if facts.is_ended_by_hand:
        stop += (
            f" Training was ended by hand after {len(facts.history)} of "
            f"{say_number(training.epochs, 'epoch')}, with its curves in view."
        )
    epoch = find_kept_epoch(training, facts.history)
    which = f", epoch {epoch}" if epoch is not None else ""
    start = "The" if facts.study is None else "Of each member the"
    if training.keep == "best":
        return f"{start} epoch with {_MONITORS[training.monitor]}{which}.{stop}"
    reason = "" if stop else ": it was not chosen by its results"
    return f"{start} state after the last epoch{which}{reason}.{stop}"


def say_ensemble(facts: Facts) -> str:
    """What is averaged."""
    said = ""
    if facts.study is not None:
        said = (
            f"The probability is the mean of {say_number(facts.study.num_members, 'network')}, one "
            "a fold and seed of the study."
        )
    if facts.config.model.mirror:
        said += " Each picture and its mirror image are judged, and the mean is taken."
    return said.strip()


def explain_no_ensemble(facts: Facts) -> str:
    """Why the question of an ensemble does not arise; "" where it does."""
    return "" if say_ensemble(facts) else "One network judges each picture once."


def say_calibration(facts: Facts) -> str:
    """How the probabilities were recalibrated."""
    found = (facts.metrics or {}).get("calibration")
    if not isinstance(found, dict):
        return ""
    loss = found["log_loss"]
    return (
        f"All logits are divided by one temperature, {found['temperature']:.3f}, fitted on the "
        f"{found['n']} validation images. Log loss there: {loss['before']:.3f} before, "
        f"{loss['after']:.3f} after. It moves no image across one half."
    )


def say_software(facts: Facts) -> str:
    """What computed."""
    packages = facts.environment.get("packages")
    if not isinstance(packages, dict):
        return ""
    names = {"python": facts.environment.get("python", ""), **packages}
    listed = ", ".join(f"{name} {version}" for name, version in names.items() if version)
    return f"polyp_core {facts.environment.get('polyp_core', '')}, {make_visible(listed)}."


def say_machine(facts: Facts) -> str:
    """On what it was trained, and how long it took."""
    said = [make_visible(str(facts.environment.get("processor") or ""))]
    devices = facts.environment.get("devices")
    if isinstance(devices, list):
        said.append(f"computed on {', '.join(make_visible(str(name)) for name in devices)}")
    elapsed_s = facts.run.read_status().get("elapsed_s")
    if isinstance(elapsed_s, (int, float)) and any(said):
        said.append(f"{say_duration(elapsed_s)} in all")
    joined = ", ".join(filter(None, said))
    return f"Trained on: {joined}." if joined else ""


def say_repeat(facts: Facts) -> str:
    """What it takes to repeat the run."""
    data = facts.config.data
    return (
        f"Split: seed {data.seed}; training: {facts.say_seeds()}. The run keeps every setting and "
        "the SHA-256 of every image; the report states the command that repeats it."
    )


def say_file(facts: Facts) -> str:
    """Which file is the model."""
    sha256 = facts.run.read_serving().get("sha256")
    return f"The model's file has the SHA-256 {sha256}." if isinstance(sha256, str) else ""


def _say_schedule(training: TrainingConfig) -> str:
    decay = f"times {training.decay_factor:g}"
    return {
        "constant": "constant",
        "cosine": f"cosine, after a warm-up over {100 * training.warm_up:g} % of the training",
        "step": f"{decay} every {say_number(training.decay_epochs, 'epoch')}",
        "plateau": f"{decay} after {say_number(training.decay_epochs, 'epoch')} without progress",
    }[training.schedule]


def _say_body(model: ModelConfig) -> str:
    filters = ", ".join(map(str, model.filters))
    if model.network == "transfer":
        return f"the backbone {model.backbone}"
    if model.network == "residual":
        return (
            f"{len(model.filters)} residual stages of {filters} filters, "
            f"{say_number(model.blocks, 'block')} each"
        )
    norm = ", batch normalisation" if model.batch_normalization else ""
    pooling = ", the last without pooling" if model.head == "average" else ""
    return (
        f"{say_number(len(model.filters), 'stage')} of a 3 × 3 convolution ({filters} filters; "
        f"padding '{model.padding}'){norm}, ReLU and 2 × 2 max-pooling"
        f"{pooling}"
    )
