"""What a source of many images costs: to pack, to open, to shuffle, to read; and what four million entries cost to open.

    python benchmarks/sources.py                       # 20,000 tiny images, under two minutes
    python benchmarks/sources.py --images 1000000      # the real thing: some 5 GB, and most of an hour on two cores

1. `upreid pack` of an lmdb of tiny JPEGs (32 x 16 noise, no two alike), then opening the set, one global shuffle, and reads
   in that order, each compared with its CRC-32 by the reader.
2. Opening a packed set of 4 million entries whose shards are sparse files: seconds, and memory above what Python with the same
   imports takes, in a process of its own.
3. The loader that training uses, over some thousand images of 128 x 64 in random order: from a folder, an lmdb and shards; best
   of several rounds that alternate, in images per second of processor time (user and system), as a ratio to the folder. All of
   it lies in the page cache: what is compared is the software, not the disk.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image

from upreid.commands.pack import run as pack
from upreid.config.commands import PackConfig
from upreid.data.sources.index_file import NAMES, joined, open_index, pack_names, write_index
from upreid.data.sources.packed_set import FORMAT, INDEX, KIND, MANIFEST, VERSION, WHERE
from upreid.data.sources.recognise import open_source
from upreid.runtime.seed import permutation

PER_SHARD, PER_TRANSACTION = 10_000, 10_000
MANY, ROUNDS = 4_000_000, 4
LOADED = 4000
"""Images of the comparison of loaders."""

CHILD = """
import json, re, sys, time
from pathlib import Path
from upreid.data.sources.recognise import open_source
from upreid.runtime.seed import permutation

def megabytes(what):
    return int(re.search(what + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

result, base, began = {}, megabytes("VmRSS"), time.perf_counter()
def lap(name):
    global began
    result[name] = time.perf_counter() - began
    result[name + " MB"] = megabytes("VmHWM") - base
    began = time.perf_counter()

source, reads = open_source(Path(sys.argv[1])), int(sys.argv[2])
lap("open")
if reads:
    order = permutation(1, 0, len(source), purpose="order")
    lap("shuffle")
    result["bytes"] = sum(len(source.read(int(index))) for index in order[:reads])
    lap("read")
print(json.dumps({"images": len(source), **result}))
"""


def tiny_images(count: int, height: int = 32, width: int = 16) -> Iterator[bytes]:
    """Make JPEGs of noise, from a seed."""
    numbers = np.random.default_rng(1)
    for _ in range(count):
        file = io.BytesIO()
        Image.fromarray(numbers.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(file, "JPEG", quality=50)
        yield file.getvalue()


def write_lmdb(root: Path, images: Iterator[bytes], count: int) -> None:
    """Write an lmdb as LUPerson has it, without its list of keys."""
    environment = lmdb.open(str(root / "lmdb"), map_size=count * 8192 + 2**30, lock=False, sync=False)
    for first in range(0, count, PER_TRANSACTION):
        with environment.begin(write=True) as transaction:
            for number in range(first, min(first + PER_TRANSACTION, count)):
                transaction.put(f"US_NY_{number // 1000:04d}_{number:08d}".encode(), next(images), append=True)
    environment.close()


def measure_pack(root: Path, count: int, reads: int) -> None:
    """Pack, open, shuffle, read."""
    out = root.with_name("packed")
    began = time.perf_counter()
    write_lmdb(root, tiny_images(count), count)
    print(f"{count} tiny images generated into an lmdb: {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    pack(PackConfig(src=root, out=out, shard_size=PER_SHARD))
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"upreid pack: {seconds:.0f} s, {count / seconds:.0f} images/s; {size / 1e9:.2f} GB")
    found = in_a_process(out, reads)
    print(
        f"shuffled: {found['shuffle']:.2f} s; read {reads} in that order, one process: {reads / found['read']:.0f} images/s, "
        f"{found['bytes'] / found['read'] / 1e6:.0f} MB/s, all CRC-32s right; peak memory above the imports: after opening "
        f"{found['open MB']:.0f} MB, with the order {found['shuffle MB']:.0f} MB, in the end {found['read MB']:.0f} MB "
        f"(pages of the mapped index included)"
    )


def in_a_process(root: Path, reads: int) -> dict[str, float]:
    """Open a set, and perhaps shuffle and read it, in a process of its own."""
    words = [sys.executable, "-c", CHILD, str(root), str(reads)]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    print(f"opened: {found['images']} images in {found['open']:.2f} s, {found['open MB']:.0f} MB above the imports")
    return found


def write_many(root: Path) -> None:
    """Write a packed set of `MANY` images whose shards have their first header and nothing else."""
    root.mkdir()
    stride, size = 16_384, 15_000
    shards = []
    for number in range(MANY // PER_SHARD):
        name = f"shard-{number:06d}.tar"
        header = tarfile.TarInfo("000000000.jpg")
        header.size = size
        with (root / name).open("wb") as file:
            file.write(header.tobuf(tarfile.USTAR_FORMAT))
            file.truncate(PER_SHARD * stride)
        shards.append({"name": name, "bytes": PER_SHARD * stride, "end": (number + 1) * PER_SHARD})
    firsts = range(0, MANY, PER_SHARD)
    names = [pack_names([f"US/NY/{n // 100:05d}/{n:08d}.jpg" for n in range(k, k + PER_SHARD)]) for k in firsts]
    positions = np.arange(PER_SHARD, dtype=np.uint64) * np.uint64(stride) + np.uint64(512)
    whole = len(shards)
    arrays = {
        "names": (part["names"] for part in names),
        "name_ends": joined(names),
        "positions": [positions] * whole,
        "sizes": [np.full(PER_SHARD, size, dtype=np.uint32)] * whole,
        "checks": [np.arange(PER_SHARD, dtype=np.uint32)] * whole,
    }
    write_index(root / INDEX, KIND, {"shards": shards}, arrays)
    digest = open_index(root / INDEX, KIND).digest(*NAMES, *WHERE)
    settings = {"height": None, "width": None, "quality": None}
    (root / MANIFEST).write_text(
        json.dumps({"format": FORMAT, "version": VERSION, "settings": settings, "index": digest})
    )


def measure_loaders(root: Path) -> None:
    """Read folder, lmdb and shards of the same images through the loader that training uses."""
    from torch.utils.data import DataLoader

    from upreid.data.dataset import OriginalImages, collate

    sets = {name: root / name for name in ("folder", "lmdb-set", "shards")}
    for path in (sets["folder"], sets["lmdb-set"]):
        path.mkdir()
    images = list(tiny_images(LOADED, 128, 64))
    for number, content in enumerate(images):
        (sets["folder"] / f"{number:08d}.jpg").write_bytes(content)
    write_lmdb(sets["lmdb-set"], iter(images), LOADED)
    pack(PackConfig(src=sets["folder"], out=sets["shards"], shard_size=1000))
    keys = [(0, int(index)) for index in permutation(1, 0, LOADED, purpose="order")]
    best = dict.fromkeys(sets, 0.0)
    for _ in range(ROUNDS):
        for name, path in sets.items():
            data = OriginalImages(open_source(path), height=128, width=64)
            began = time.process_time()
            for _batch in DataLoader(data, batch_size=100, sampler=keys, collate_fn=collate):
                pass
            best[name] = max(best[name], LOADED / (time.process_time() - began))
    for name, rate in best.items():
        print(
            f"loader, 128x64, from {name:9s} {rate:7.0f} images/s of CPU   {rate / best['folder']:.2f} of the folder's"
        )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=int, default=20_000)
    arguments.add_argument("--reads", type=int, help="images read in shuffled order [all]")
    arguments.add_argument("--out", type=Path, help="where to work; deleted at the end [a temporary folder]")
    given = arguments.parse_args()
    root = Path(tempfile.mkdtemp(prefix="upreid-sources-", dir=given.out))
    os.environ["XDG_CACHE_HOME"] = str(root / "cache")  # kept lists go away with the rest
    try:
        measure_loaders(root)
        write_many(root / "many")
        in_a_process(root / "many", 0)
        shutil.rmtree(root / "many")
        (root / "source").mkdir()
        measure_pack(root / "source", given.images, given.reads or given.images)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
