"""The forms in which a model leaves, and which of them a run can take."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from polyp_core.errors import ConfigError, ModelError
from polyp_core.runs import Run

_ONNX_PACKAGES = ("onnx", "onnxruntime", "tf2onnx")
REQUIREMENTS = "requirements-onnx.txt"


@dataclass(frozen=True, kw_only=True)
class Format:
    """A form in which a model is written.

    Attributes:
        name: As on the command line.
        title: As on a page.
        suffix: That its files end in, with the dot.
        summary: One sentence: who needs it.
        package: The optional package that must be installed; "" where the app has all it takes.
    """

    name: str
    title: str
    suffix: str
    summary: str
    package: str = ""

    @property
    def file_name(self) -> str:
        """Of a model among those of other formats, such as "model.onnx"."""
        return f"{self.name if self.suffix == '.zip' else 'model'}{self.suffix}"


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        form.name: form
        for form in (
            Format(
                name="keras",
                title="Keras",
                suffix=".keras",
                summary="For whoever goes on in Keras: one file, opened with "
                "keras.saving.load_model and no code of this app.",
            ),
            Format(
                name="weights",
                title="Keras weights",
                suffix=".weights.h5",
                summary="For whoever has the network in code already: the numbers alone, with the "
                "settings that describe the network.",
            ),
            Format(
                name="saved-model",
                title="TensorFlow SavedModel",
                suffix=".zip",
                summary="For TensorFlow Serving and other TensorFlow programs: a zip of the "
                "folder that they load.",
            ),
            Format(
                name="litert",
                title="LiteRT (TensorFlow Lite)",
                suffix=".tflite",
                summary="For phones, small computers and Python without TensorFlow: the file that "
                "this app itself predicts with.",
            ),
            Format(
                name="onnx",
                title="ONNX",
                suffix=".onnx",
                summary="For ONNX Runtime and programs in other languages (C++, C#, Java, "
                "JavaScript).",
                package="onnx",
            ),
        )
    }
)


def is_available(form: Format) -> bool:
    """Whether the packages that a format takes are installed."""
    return not list_missing(form)


def list_missing(form: Format) -> list[str]:
    """The optional packages that a format takes and that are not installed."""
    needed = _ONNX_PACKAGES if form.package else ()
    return [name for name in needed if importlib.util.find_spec(name) is None]


def is_heavy(form: Format) -> bool:
    """Whether writing it starts TensorFlow."""
    return form.name != "litert"


def find_format(name: str) -> Format:
    """A format by its name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in FORMATS:
        raise ConfigError(
            f"There is no such format. Expected one of {', '.join(FORMATS)}. Choose one of them. "
            f"Received: format={name[:60]!r}"
        )
    return FORMATS[name]


def say_obstacle(run: Run, form: Format) -> str:
    """Why a run cannot be written in a format, in sentences; "" where it can."""
    if missing := list_missing(form):
        return (
            f"{form.title} takes packages that are not installed ({', '.join(missing)}). Expected "
            f"those of {REQUIREMENTS}. Install them with `python -m pip install -r "
            f"{REQUIREMENTS}`, or choose another format."
        )
    if not is_heavy(form) or run.path("model.keras").is_file():
        return ""
    others = "Choose LiteRT, which every finished run has, or a bundle."
    if (run.directory.parent / "study.json").is_file() and run.name == "ensemble":
        return (
            f"'{run.directory.parent.name}' is the ensemble of a study: it was made for predicting "
            f"and has no Keras model of its own, which {form.title} takes. {others} Each member of "
            "the study can be exported as any run."
        )
    return (
        f"Run '{run.name}' has no model.keras, which {form.title} takes; the model that ships with "
        f"the app is without one too. Expected a run that was trained or brought in here. {others}"
    )


def check_possible(run: Run, form: Format) -> None:
    """Refuse what cannot be written.

    Raises:
        ModelError: If a package is missing, or the run has no model that the format takes.
    """
    if obstacle := say_obstacle(run, form):
        raise ModelError(obstacle)
