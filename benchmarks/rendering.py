"""How fast the embedded corpus is rendered, everything included: body, street, camera, JPEG.

    python benchmarks/rendering.py

One process, images per CPU second, best of three rounds. At least 60 at 128x64 and 25 at 256x128 are wanted.
"""

import time

from upreid.synthetic.corpus import Recipe, take, wild_shots
from upreid.synthetic.layouts import LAYOUTS

SIZES = {(128, 64): 60, (256, 128): 25}
IMAGES, ROUNDS = 120, 3


def main() -> None:
    for (height, width), wanted in SIZES.items():
        recipe = Recipe(
            identities=60,
            seed=1,
            height=height,
            width=width,
            camera_strength=1.0,
            background_strength=1.0,
            occlusion_strength=1.0,
            layout="market1501",
        )
        for name, shots in (("benchmark", LAYOUTS["market1501"].shots(recipe)), ("wild", wild_shots(recipe))):
            take(recipe, shots[0])  # cameras and streets are drawn once
            rates: list[float] = []
            for _ in range(ROUNDS):
                began = time.process_time()
                for shot in shots[:IMAGES]:
                    take(recipe, shot)
                rates.append(IMAGES / (time.process_time() - began))
            print(f"{height}x{width} {name:10s} {max(rates):6.1f} images/s (wanted: {wanted})")


if __name__ == "__main__":
    main()
