from dataclasses import replace

from upreid.data.augment.presets import PATCH, PATCH_PRESETS, PRESETS


def test_the_luperson_preset_has_the_numbers_of_its_source():
    preset = PRESETS["luperson"]
    assert (preset.crop_area, preset.crop_ratio) == ((0.2, 1.0), (3 / 4, 4 / 3))
    assert (preset.grey_probability, preset.flip_probability, preset.jitter_probability) == (0.2, 0.5, 0.0)
    assert (preset.blur_probability, preset.blur_sigma) == (0.5, (0.1, 2.0))
    assert (preset.erase_probability, preset.erase_area, preset.erase_ratio) == (
        0.5,
        (0.02, 0.6),
        (0.3, 3.33),
    )


def test_person_presets_differ_in_the_crop_alone_and_jitter_presets_in_the_jitter_alone():
    crop = {"crop_area": (0.64, 1.0), "crop_ratio": (1 / 3, 1 / 2)}
    jitter = {"jitter_probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    assert PRESETS["person"] == replace(PRESETS["luperson"], **crop)
    assert PRESETS["luperson-jitter"] == replace(PRESETS["luperson"], **jitter)
    assert PRESETS["person-jitter"] == replace(PRESETS["luperson"], **crop, **jitter)


def test_patches_stay_where_they_are():
    for preset in PATCH_PRESETS.values():
        assert preset.flip_probability == 0
        assert preset.crop_area == (1.0, 1.0)


def test_patch_presets_differ_in_the_jitter_alone():
    jitter = {"jitter_probability": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    assert PATCH_PRESETS["mild"] == PATCH
    assert PATCH_PRESETS["jitter"] == replace(PATCH, **jitter)
