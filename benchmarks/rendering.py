"""How fast the embedded corpus is rendered, everything included: body, street, camera, JPEG.

    python benchmarks/rendering.py

One process, images per CPU second, best of three rounds. At least 60 at 128x64 and 25 at 256x128 are wanted.
"""

import time

from upreid.synthetic.corpus import take, wild_shots
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.settings import CorpusSettings

VERSIONS = (1, 2)
SIZES = {(128, 64): 60, (256, 128): 25}
IMAGES, ROUNDS = 120, 3


def main() -> None:
    for (height, width), wanted in SIZES.items():
        for version in VERSIONS:
            corpus = CorpusSettings(version=version, identities=60, seed=1, height=height, width=width)
            for name, shots in (("benchmark", LAYOUTS["market1501"].shots(corpus)), ("wild", wild_shots(corpus))):
                take(corpus, shots[0])  # cameras and streets are drawn once
                rates: list[float] = []
                for _ in range(ROUNDS):
                    began = time.process_time()
                    for shot in shots[:IMAGES]:
                        take(corpus, shot)
                    rates.append(IMAGES / (time.process_time() - began))
                rate = f"{max(rates):6.1f} images/s (wanted: {wanted})"
                print(f"version {version} {height}x{width} {name:10s} {rate}")


if __name__ == "__main__":
    main()
