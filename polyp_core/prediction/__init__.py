"""A run's serving model classifies images: probability, saliency map and words. No TensorFlow.

`predictor` runs the LiteRT file; `classifier` turns what it says of a picture into an answer;
`files` does so with thousands of files; `overlay` draws the map over the picture.
"""

from polyp_core.prediction.classifier import Classifier, Prediction, load_classifier
from polyp_core.prediction.files import FileAnswer, classify_files
from polyp_core.prediction.overlay import draw_overlay
from polyp_core.prediction.predictor import Examined, Predictor

__all__ = [
    "Classifier",
    "Examined",
    "FileAnswer",
    "Prediction",
    "Predictor",
    "classify_files",
    "draw_overlay",
    "load_classifier",
]
