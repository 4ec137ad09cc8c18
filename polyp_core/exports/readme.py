"""What stands in the README.txt of a bundle: how to use it, and what it does not do."""

import textwrap
from collections.abc import Sequence

from polyp_core.exports.formats import FORMATS
from polyp_core.exports.making import Export
from polyp_core.exports.preprocessing import NOTICE
from polyp_core.origins import Origin, read_origin
from polyp_core.prediction import Classifier
from polyp_core.runs import Run
from polyp_core.words import make_visible

_WIDTH = 88
_SYNTHETIC = (
    "All images that it was trained and tested on are synthetic, drawn by the app itself: it shows "
    "how such a model is made, and says nothing of patients."
)


def write_readme(
    run: Run, classifier: Classifier, exports: Sequence[Export], *, has_weights: bool
) -> str:
    """The text of README.txt.

    Args:
        run: That was packed.
        classifier: Of it, whose classes, threshold and band hold.
        exports: The models in the bundle.
        has_weights: Whether the run can be brought in elsewhere.
    """
    origin = read_origin(run)
    parts = [
        _wrap(_say_title(run, origin)),
        _wrap(NOTICE),
        *([_wrap(_SYNTHETIC)] if origin.is_synthetic else []),
        "To predict (Python 3.11 to 3.13):",
        "    python -m venv env\n"
        "    env/bin/python -m pip install -r requirements.txt\n"
        "    env/bin/python predict.py image.png another.jpg\n"
        "    (on Windows: env\\Scripts\\python)",
        _say_answers(classifier),
        _say_limits(classifier),
        "What is in here:",
        _list_members(exports, is_automatic=classifier.config.data.region == "automatic"),
        _say_import(has_weights),
        _wrap(
            "Patients and images are numbered; their names, folders and files, the pattern that "
            "told patients by their files' names, pictures and the note of the run stay where it "
            "was trained. What people called things is in here as they wrote it: the run, its "
            "title, its study, the two classes and what somebody wrote into the checklists. "
            "See that none of it names a patient before you hand this on. "
            "The report is written from what is in here, so it shows "
            "no pictures of patients and repeats no audit; whoever has the images can write the "
            "whole one. The sha256 of each image in run/index.csv tells whoever has "
            "the files which they are."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _say_title(run: Run, origin: Origin) -> str:
    name = make_visible(run.name)
    if origin.is_demo:
        return "The demo model of the app"
    if origin.study is None:
        return f"The model of run '{name}'"
    study = make_visible(origin.study.name)
    if origin.study.member:
        return f"The model of '{name}', one member of the study '{study}'"
    return f"The model of the study '{study}', the mean of all its members"


def _say_answers(classifier: Classifier) -> str:
    negative, positive = map(make_visible, classifier.class_names)
    said = (
        f"It prints the path, the class ('{negative}' or '{positive}') and the probability of "
        f"'{positive}'. From {classifier.threshold:.4g} on the answer is '{positive}'."
    )
    band = classifier.band
    if band is not None and band.low < band.high:
        said += f" From {band.low:.4g} to {band.high:.4g} it is 'not sure': show it to a person."
    if classifier.level == "patient":
        said += (
            " These limits were chosen for the mean probability of all images of a patient, not "
            "for single images."
        )
    return _wrap(said)


def _say_limits(classifier: Classifier) -> str:
    said = (
        "predict.py reads PNG, JPEG, BMP, TIFF and WebP, not DICOM. It answers any picture that it "
        "can read: unlike the app it does not notice one that is not like the training images, "
        "whose probability means nothing."
    )
    if classifier.config.data.region == "automatic":
        said += (
            " The model was trained on the scan area that the app finds in each picture. region.py "
            "finds it here by the same rule, for which requirements.txt names OpenCV. With another "
            "runtime, cut the pictures out in this way first: on whole screenshots the model was "
            "not tested."
        )
    return _wrap(said)


def _list_members(exports: Sequence[Export], *, is_automatic: bool) -> str:
    lines = [
        ("predict.py", "classifies images; needs what requirements.txt names"),
        ("preprocessing.json", "what the model is given, and what follows from its answer"),
    ]
    if is_automatic:
        lines.append(("region.py", "finds the scan area in a picture"))
    for export in exports:
        lines.append(
            (
                export.path.name,
                f"{FORMATS[export.format].title}; opened with {export.runtime}, at most "
                f"{export.largest_difference:.1g} off in probability on {export.num_compared} "
                f"{export.compared_on}",
            )
        )
    lines += [
        ("MODEL_CARD.md", "the model card: what it is for, how good it is, what it is not for"),
        ("report.html", "the report: how it was trained and tested; open it in a browser"),
        ("export.json", "how each model was proved, and the sha256 of every file"),
        ("run/", "settings, images by number and hash, curves, predictions, environment"),
    ]
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(
        textwrap.fill(
            said, _WIDTH, initial_indent=f"    {name:{width}}", subsequent_indent=" " * (width + 4)
        )
        for name, said in lines
    )


def _say_import(has_weights: bool) -> str:
    if has_weights:
        return _wrap(
            "To go on in another installation of the app, bring this zip in as it is: on its "
            "predict page, or with `python -m polyp_core import FILE`."
        )
    return _wrap(
        "This run has no Keras weights (it is the ensemble of a study, or the model that ships "
        "with the app), so this zip predicts but cannot be brought into another installation."
    )


def _wrap(text: str) -> str:
    return textwrap.fill(text, _WIDTH)
