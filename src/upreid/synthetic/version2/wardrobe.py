"""What people wear in front of real cameras: mostly black, grey, navy and beige, and much the same from one to the next."""

from upreid.synthetic.identity import Wardrobe

WARDROBE = Wardrobe(
    upper={"black": 20, "grey": 16, "white": 19, "navy": 9, "denim": 8, "beige": 10, "wine": 5, "olive": 5, "vivid": 8},
    lower={"black": 30, "grey": 18, "white": 6, "navy": 12, "denim": 20, "beige": 10, "olive": 4},
    accessory={"black": 52, "grey": 20, "white": 10, "navy": 6, "beige": 10, "vivid": 2},
    ranges={
        "black": ((0.0, 1.0), (0.0, 0.15), (0.06, 0.2)),
        "grey": ((0.5, 0.7), (0.0, 0.12), (0.22, 0.6)),
        "white": ((0.05, 0.16), (0.0, 0.08), (0.62, 0.9)),
        "navy": ((0.6, 0.68), (0.2, 0.5), (0.12, 0.3)),
        "denim": ((0.57, 0.62), (0.15, 0.4), (0.3, 0.55)),
        "beige": ((0.06, 0.12), (0.1, 0.35), (0.35, 0.75)),
        "wine": ((0.94, 1.0), (0.3, 0.6), (0.2, 0.45)),
        "olive": ((0.15, 0.3), (0.12, 0.35), (0.2, 0.42)),
        "vivid": ((0.0, 1.0), (0.4, 0.7), (0.4, 0.75)),
    },
    upper_textures={"plain": 72, "stripes": 7, "pinstripes": 4, "checks": 6, "dots": 2, "camouflage": 2, "blocks": 7},
    lower_textures={"plain": 92, "pinstripes": 2, "checks": 1, "dots": 1, "camouflage": 1, "piping": 3},
    logos=0.3,
)
