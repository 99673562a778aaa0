"""The body is a thing in space: it has a front, a left, and a size."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from upreid.synthetic.body import BodyBuilder, BodyPart
from upreid.synthetic.figure import Light, draw_figure, stand
from upreid.synthetic.identity import Identity, draw_identity
from upreid.synthetic.raster import Window, see
from upreid.synthetic.shot import generator
from upreid.synthetic.skeleton import Pose
from upreid.synthetic.version1.photograph import shade

WINDOW = Window(rows=128, columns=64, left=-0.55, top=2.1, metres_per_row=2.2 / 128, metres_per_column=1.1 / 64)
FROM_EYE = partial(shade, light=Light(direction=(0.0, 0.0, 1.0), strength=0.4, ambient=0.6))
WALKING = Pose(phase=1.3, stride=0.45, arm_swing=0.4, elbows=(0.5, 0.1))


def someone(number: int = 1, **changes: object) -> Identity:
    return dataclasses.replace(draw_identity(generator(7, "test", number)), **changes)


def rendered(person: Identity, yaw: float = 0.0, pose: Pose | None = None, elevation: float = 0.1):
    return draw_figure(person, stand(person, pose or Pose(), yaw, elevation), WINDOW, FROM_EYE)


def height_in_pixels(cover: np.ndarray) -> int:
    return int((cover.max(axis=(1, 2)) > 0.5).sum())


def test_a_ball_is_seen_as_a_disc_of_its_radius_with_normals_that_point_outward():
    shop = BodyBuilder()
    shop.ball(BodyPart.SKIN, np.array([0.0, 1.0, 0.3]), (0.4, 0.4, 0.4))
    window = Window(rows=200, columns=200, left=-1.0, top=2.0, metres_per_row=0.01, metres_per_column=0.01)
    surface = see(shop.solids(), window)
    row, column = np.divmod(surface.pixel, 200)
    x, y = -1 + 0.01 * (column + 0.5), 2 - 0.01 * (row + 0.5)
    assert len(surface.pixel) * 1e-4 == pytest.approx(np.pi * 0.4**2, rel=0.01)
    np.testing.assert_allclose(surface.normal[0], x / 0.4, atol=1e-3)
    np.testing.assert_allclose(surface.normal[1], (y - 1) / 0.4, atol=1e-3)


def test_a_tube_swells_as_its_three_radii_say_and_along_runs_from_start_to_end():
    shop = BodyBuilder()
    shop.tube(BodyPart.SKIN, np.zeros(3), np.array([0.0, 1.0, 0.0]), (0.1, 0.3, 0.2), along=(5.0, 7.0))
    window = Window(rows=101, columns=200, left=-1.0, top=1.005, metres_per_row=0.01, metres_per_column=0.01)
    surface = see(shop.solids(), window)
    row = surface.pixel // 200
    widths = np.bincount(row, minlength=101) * 0.01
    assert widths[1] == pytest.approx(0.4, abs=0.03)
    assert widths[50] == pytest.approx(0.6, abs=0.03)
    assert widths[99] == pytest.approx(0.2, abs=0.03)
    np.testing.assert_allclose(surface.along, 7 - 2 * (row * 0.01), atol=0.01)


def test_the_nearer_of_two_solids_hides_the_other_whatever_their_order():
    for order in ((0.5, -0.5), (-0.5, 0.5)):
        shop = BodyBuilder()
        for depth in order:
            shop.ball(BodyPart.SKIN, np.array([0.0, 1.0, depth]), (0.3, 0.3, 0.3))
        seen = see(shop.solids(), WINDOW).solid
        assert set(seen) == {order.index(0.5)}


@pytest.mark.parametrize("number", range(8))
def test_every_solid_lies_within_the_box_that_it_announces(number: int):
    solids = stand(someone(number), WALKING, yaw=0.7, elevation=0.3)
    left, right, bottom, top = solids.boxes().T
    y = np.linspace(solids.span[:, 0], solids.span[:, 1], 9, axis=1)[:, :, None]  # [solids, heights, 1]
    q0, q1, q2 = (column[:, None, None] for column in solids.profile.T)
    radius = np.sqrt(np.maximum(q0 + 2 * q1 * y + q2 * y**2, 0))
    turn = np.linspace(0, 2 * np.pi, 16)
    local = (radius * np.sin(turn), y * np.ones(16), radius * np.cos(turn))
    axes = (solids.side, solids.up, solids.front)
    for k, low, high in ((0, left, right), (1, bottom, top)):
        place = solids.origin[:, k, None, None] + sum(a[:, k, None, None] * c for a, c in zip(axes, local, strict=True))
        assert (place > low[:, None, None] - 1e-9).all()
        assert (place < high[:, None, None] + 1e-9).all()


def test_front_and_back_differ_and_the_face_is_in_front():
    person = someone(hair_style="short", skin=(0.9, 0.7, 0.6), hair=(0.1, 0.1, 0.1), bag="none")
    front, back = rendered(person), rendered(person, yaw=np.pi)
    assert np.abs(front.colour - back.colour).mean() > 0.002
    top = int(np.flatnonzero(front.cover.max(axis=(1, 2)) > 0.5)[0])
    head = np.s_[top : top + 15, :, 0]
    assert front.colour[head].sum() > 1.5 * back.colour[head].sum()


def test_the_opposite_yaw_mirrors_the_silhouette_of_a_symmetric_stand():
    person = someone(bag="none")
    left, right = rendered(person, yaw=0.6), rendered(person, yaw=-0.6)
    assert np.abs(left.cover - right.cover[:, ::-1]).mean() < 1e-3
    assert np.abs(left.cover - right.cover).mean() > 5e-3


def test_half_a_step_later_the_silhouette_is_mirrored():
    person = someone(bag="none")
    later = dataclasses.replace(WALKING, phase=WALKING.phase + np.pi, elbows=WALKING.elbows[::-1])
    now, then = rendered(person, pose=WALKING), rendered(person, pose=later)
    assert np.abs(now.cover - then.cover[:, ::-1]).mean() < 1e-3


def test_a_taller_build_is_taller_in_pixels_and_a_stouter_one_wider():
    person = someone(bag="none", hair_style="bald")
    small, tall, stout = (
        rendered(dataclasses.replace(person, build=dataclasses.replace(person.build, **change))).cover
        for change in ({"stature": 1.5, "girth": 1.0}, {"stature": 1.9, "girth": 1.0}, {"stature": 1.5, "girth": 1.4})
    )
    assert height_in_pixels(tall) == pytest.approx(height_in_pixels(small) * 1.9 / 1.5, rel=0.03)
    assert stout.sum() > 1.2 * small.sum()


def test_a_side_view_of_a_stride_is_wider_than_of_a_stand():
    person = someone(bag="none")
    wide = [(rendered(person, np.pi / 2, pose).cover.max(axis=(0, 2)) > 0.5).sum() for pose in (Pose(), WALKING)]
    assert wide[1] > 1.5 * wide[0]


def test_from_above_a_person_looks_shorter():
    person = someone()
    low, high = (height_in_pixels(rendered(person, elevation=e).cover) for e in (0.0, 0.9))
    assert high < 0.85 * low


def test_a_logo_on_the_chest_is_seen_from_the_front_only():
    person = next(p for p in map(someone, range(200)) if p.upper.logo and not p.upper.logo.is_on_back)
    person = dataclasses.replace(
        person, upper=dataclasses.replace(person.upper, inner=None), bag="none", hair_style="bald"
    )
    plain = dataclasses.replace(person, upper=dataclasses.replace(person.upper, logo=None))
    change = [np.abs(rendered(person, yaw).colour - rendered(plain, yaw).colour).sum() for yaw in (0.0, np.pi)]
    assert change[0] > 10
    assert change[1] == 0


@pytest.mark.parametrize("texture", ["stripes", "pinstripes", "checks", "dots", "camouflage", "blocks", "piping"])
def test_every_texture_shows_at_least_two_colours(texture: str):
    person = someone(bag="none")
    cloth = dataclasses.replace(person.lower.cloth, texture=texture)
    lower = dataclasses.replace(person.lower, cloth=cloth, is_skirt=False, length=2.0)
    patterned = rendered(dataclasses.replace(person, lower=lower), yaw=0.5).colour
    flat = dataclasses.replace(lower, cloth=dataclasses.replace(cloth, texture="plain"))
    assert np.abs(patterned - rendered(dataclasses.replace(person, lower=flat), yaw=0.5).colour).sum() > 10


def test_identities_are_drawn_from_their_numbers_alone():
    one, same, other = (draw_identity(generator(3, "someone", n)) for n in (5, 5, 6))
    assert repr(one) == repr(same)
    assert repr(one) != repr(other)
