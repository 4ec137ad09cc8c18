"""Which model answered, and what it is worth."""

from dataclasses import dataclass

from polyp_core.decision import read_decision, read_worth
from polyp_core.errors import RunError
from polyp_core.runs import Run
from polyp_core.words import get_main_level, say_doubt, say_number, say_worth

NOTICE = "For research and teaching, not for diagnosis."


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What is said of a model wherever it answers.

    Attributes:
        name: Of the model.
        sha256: Of its file.
        training: Such as "Trained on 120 images of 40 patients."; "" where unknown.
        validation: What it is worth at the threshold in use, in whole sentences.
    """

    name: str
    sha256: str
    training: str
    validation: str


def read_credentials(run: Run, name: str = "") -> Credentials:
    """What is said of a run's model.

    Args:
        run: Finished.
        name: What to call it. Defaults to the run's title, or its name.
    """
    metrics = read_worth(run)
    validation = "It has not been validated: nothing is known of its worth."
    if metrics is not None:
        level, unit = get_main_level(metrics)
        doubt = say_doubt(level, read_decision(run).goal.purpose)
        validation = f"Validation: {say_worth(level, unit)}. {doubt}".strip()
    return Credentials(
        name=name or run.read_notes()["title"].strip() or run.name,
        sha256=str(run.read_serving().get("sha256", "")),
        training=_say_training(run),
        validation=validation,
    )


def _say_training(run: Run) -> str:
    try:
        index = run.read_index()
    except RunError:  # an ensemble has none of its own
        return ""
    images = index.select("train")
    said = f"Trained on {say_number(len(images), 'image')}"
    # A file that stands for itself (such as a film for its frames) is no patient known.
    patients = images["group"][images["group"] != images["path"]]
    if index.has_groups and len(patients):
        said += f" of {say_number(int(patients.nunique()), 'patient')}"
    return f"{said}."
