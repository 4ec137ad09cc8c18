"""Synthetic ultrasound images of a polyp in a fluid-filled lumen: the demo data set.

`drawing` draws the `parameters` of an image; `scene` lays them out as a map of the tissue in
probe coordinates (depth by beam), with the outlines from `geometry`; `machine` sends sound
through the map and makes the picture; `demo_data` writes the pictures of many patients.
"""

from polyp_core.phantom.demo_data import MIN_PATIENTS, write_demo_data
from polyp_core.phantom.drawing import count_images, draw_parameters, is_calcified
from polyp_core.phantom.geometry import locate_polyp
from polyp_core.phantom.machine import form_envelope, render_phantom
from polyp_core.phantom.parameters import CLASS_NAMES, PhantomParameters, Spot

__all__ = [
    "CLASS_NAMES",
    "MIN_PATIENTS",
    "PhantomParameters",
    "Spot",
    "count_images",
    "draw_parameters",
    "form_envelope",
    "is_calcified",
    "locate_polyp",
    "render_phantom",
    "write_demo_data",
]
