"""What exact search costs: faiss against torch in blocks, seconds of the processor of the same search, taking turns.

    python benchmarks/search.py [--entries 100000] [--queries 256] [--rounds 5]

Random features of 512 and of 2,048 dimensions, the 10 nearest by cosine, one thread. Both engines must find the same entries.
"""

import argparse
import time

import torch

from upreid.retrieval.search import Nearest, search


def main() -> None:
    parser = argparse.ArgumentParser(description="Exact search by torch and by faiss")
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for dim in (512, 2048):
        numbers = torch.Generator().manual_seed(dim)
        gallery, query = (torch.randn(count, dim, generator=numbers) for count in (given.entries, given.queries))
        seconds: dict[str, list[float]] = {"torch": [], "faiss": []}
        found: dict[str, Nearest] = {}
        for _ in range(given.rounds):
            for engine, own in seconds.items():
                started = time.process_time()
                found[engine] = search(query, gallery, k=10, engine=engine)
                own.append(time.process_time() - started)
        assert torch.equal(found["torch"].places, found["faiss"].places)
        best = {engine: min(own) for engine, own in seconds.items()}
        print(
            f"{dim} dimensions: torch {best['torch']:.2f} s, faiss {best['faiss']:.2f} s, "
            f"faiss / torch {best['faiss'] / best['torch']:.2f}"
        )


if __name__ == "__main__":
    main()
