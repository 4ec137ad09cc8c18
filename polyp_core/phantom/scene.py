"""The tissue in probe coordinates: what each point sends back and takes away."""

import math

import cv2
import numpy as np
from numpy.random import Generator

from polyp_core.phantom import geometry
from polyp_core.phantom.geometry import Floats, Values
from polyp_core.phantom.parameters import TISSUE_ALPHA, PhantomParameters, Spot

ROWS, BEAMS = 336, 224
DB = math.log(10) / 20  # exp(DB * decibels) is an amplitude

_FLUID_ALPHA, _POLYP_ALPHA, _WALL_ALPHA = 0.02, 0.7, 0.8  # as TISSUE_ALPHA


class Scene:
    """The map of one image (rows, beams): `echo_db`, `surface` and `alpha`."""

    def __init__(self, p: PhantomParameters, random: Generator) -> None:
        self.p, self.random = p, random
        self.row_mm = p.depth_mm / (ROWS - 1)
        self.depth_mm = np.linspace(0, p.depth_mm, ROWS, dtype=np.float32)[:, None]
        self.beam = np.linspace(-1, 1, BEAMS, dtype=np.float32)[None, :] * geometry.get_half_field(
            p
        )
        self.mm_per_beam = np.ones_like(self.depth_mm)  # the beam's unit is mm, or rad in a sector
        self.x_mm, self.z_mm = np.broadcast_arrays(self.beam, self.depth_mm)
        if p.sector:
            self.mm_per_beam = self.depth_mm + p.probe_radius_mm
            self.x_mm = self.mm_per_beam * np.sin(self.beam)
            self.z_mm = self.mm_per_beam * np.cos(self.beam) - p.probe_radius_mm
        self.streaks = self._draw_field(84, 12)
        slow = self._draw_field(9, 7)
        self.strokes = np.maximum(self.streaks + 0.5 * slow - 1, 0)  # fibres, seen as mirrors
        self.echo_db = p.variation_db * slow + 0.35 * p.streak_db * self.streaks
        self.alpha = np.full_like(self.echo_db, TISSUE_ALPHA)
        self.surface = 0.5 * self.strokes  # mirror-like echoes, amplitude
        self._add_layers()
        self.bumps = self._draw_field(40, 40)
        self.glint = math.exp(DB * p.specular_db) * np.exp(0.5 * self.bumps)
        self.lumen = geometry.measure_lumen(p, self.x_mm, self.z_mm)
        self._add_lumen()
        self._add_polyp()
        for spot in p.foci:
            self._add_spot(spot, spot.alpha if p.calcified else TISSUE_ALPHA)
        for spot in p.distractors:
            self._add_spot(spot, spot.alpha)

    def _draw_field(self, rows: int, beams: int) -> Floats:
        """Return smooth noise of unit variance, `rows` by `beams` blobs in all."""
        coarse = self.random.standard_normal((rows, beams), dtype=np.float32)
        smooth = cv2.resize(coarse, (BEAMS, ROWS), interpolation=cv2.INTER_CUBIC)
        return np.asarray(smooth / smooth.std(), np.float32)

    def _add_layers(self) -> None:
        """Draw skin, fat and muscle above the organ."""
        p, height = self.p, 0.004 * self.p.depth_mm
        across = self.beam / self.beam[0, -1]
        gaps = np.exp(0.9 * self._draw_field(20, 7) - 0.5)
        above = _cover(self.depth_mm - p.layer_depths_mm[-1], 12 * height)
        self.echo_db += above * (p.streak_db * self.streaks - 3)
        self.surface += 2 * above * self.strokes
        self.surface += 3 * gaps * np.exp(-((self.depth_mm / (2 * height)) ** 2))  # the skin
        for number, depth_mm in enumerate(p.layer_depths_mm):
            wave = 2.5 * height * np.sin(2.5 * across + p.layer_phase_rad + 1.7 * number)
            self.surface += 3 * gaps * np.exp(-(((self.depth_mm - depth_mm - wave) / height) ** 2))

    def _add_lumen(self) -> None:
        """Draw the lumen, its wall and the tissue below."""
        p, lumen, edge = self.p, self.lumen, 2 * self.row_mm
        inside = _cover(lumen, edge)
        below = np.clip(4 * lumen / p.depth_mm, 0, 1) * (self.z_mm > p.lumen_center_mm[1])
        self.echo_db += p.streak_db * below * self.streaks
        self.surface += 1.5 * below * self.strokes
        wall = np.clip(1 - lumen / p.wall_mm, 0, 1) * (1 - inside)
        cosine = np.minimum(np.abs(np.gradient(lumen, self.row_mm, axis=0)), 1)  # beam and normal
        grazing = np.exp(-((cosine / 0.3) ** 2))
        self.echo_db += wall * (p.wall_db + 2 * self.bumps)
        self.alpha += wall * (_WALL_ALPHA - TISSUE_ALPHA + p.refraction_alpha * grazing)
        _blend(self.echo_db, p.fluid_db, inside)
        _blend(self.alpha, _FLUID_ALPHA, inside)
        self.surface *= 1 - inside
        line = np.exp(-((lumen / edge) ** 2)) + 0.2 * np.exp(-(((lumen - p.wall_mm) / edge) ** 2))
        self.surface += self.glint * line * (cosine * cosine * cosine) ** 2

    def _add_polyp(self) -> None:
        p, edge = self.p, 2 * self.row_mm
        polyp = geometry.measure_polyp(p, self.x_mm, self.z_mm)
        body = _cover(polyp, edge) * _cover(self.lumen - 0.5 * p.wall_mm, edge)
        _blend(self.echo_db, p.polyp_db + 2 * self.bumps, body)
        _blend(self.alpha, _POLYP_ALPHA, body)
        self.surface *= 1 - 0.8 * body
        rim = np.exp(-((polyp / edge) ** 2)) * _cover(self.lumen, edge)
        facing = np.minimum(np.gradient(polyp, self.row_mm, axis=0) ** 2, 1)
        self.surface += 0.12 * self.glint * rim * facing

    def _add_spot(self, spot: Spot, alpha: float) -> None:
        part, across, down = self._window(spot)
        distance = np.hypot(across, down / spot.flatness) - spot.radius_mm
        cover = _cover(distance, 0.5 * spot.radius_mm)
        strength = math.exp(DB * spot.echo_db)
        _blend(self.echo_db[part], spot.echo_db, cover)
        _blend(self.alpha[part], alpha, cover)
        self.surface[part] += 0.9 * strength * cover * (down < 0)
        if spot.tail_mm > 0:
            rings = 0.6 + 0.4 * np.cos(down * (6.28 / (0.016 * self.p.depth_mm)))
            fade = np.exp(-down / spot.tail_mm - (across / (0.5 * spot.radius_mm)) ** 2)
            self.surface[part] += 0.4 * strength * (down > 0) * rings * fade

    def _window(self, spot: Spot) -> tuple[tuple[slice, slice], Floats, Floats]:
        """Return the part of the map around a spot, and mm across and down the beam from it."""
        x, z = np.array(spot.x_mm), np.array(spot.z_mm)
        beam, depth = (float(value) for value in geometry.find_beam(self.p, x, z))
        reach_mm = 1.5 * spot.radius_mm
        reach = reach_mm / (depth + self.p.probe_radius_mm if self.p.sector else 1)
        step = float(self.beam[0, 1] - self.beam[0, 0])
        rows = np.array([depth - reach_mm, depth + (reach_mm + 4 * spot.tail_mm)]) / self.row_mm
        beams = (beam + np.array([-reach, reach]) - float(self.beam[0, 0])) / step
        top, bottom = np.clip(rows.astype(int), 0, ROWS).tolist()
        left, right = np.clip(beams.astype(int), 0, BEAMS).tolist()
        across = (self.beam[:, left:right] - beam) * self.mm_per_beam[top:bottom]
        return np.s_[top:bottom, left:right], across, self.depth_mm[top:bottom] - depth


def _cover(distance_mm: Values, edge_mm: float) -> Values:
    """Return 1 inside, 0 outside, and a ramp of `edge_mm` between."""
    return np.clip(0.5 - distance_mm / edge_mm, 0, 1)


def _blend(target: Floats, value: Values | float, cover: Values) -> None:
    target += cover * (value - target)
