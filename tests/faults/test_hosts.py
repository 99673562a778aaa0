"""Two hosts, each a network namespace of its own with one rank: the group ends as on one host, and outlives a kill."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ranks]
SECONDS = 240.0


def ip(*words: object) -> int:
    return subprocess.run(["ip", *map(str, words)], capture_output=True, check=False).returncode


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Names of two namespaces joined by a cable; only root can make them."""
    names = [f"upreid{os.getpid()}-{number}" for number in (1, 2)]
    try:
        if os.getuid() or any(ip("netns", "add", name) for name in names):
            pytest.skip("no network namespaces can be made here")
        ends = [f"u{os.getpid() % 100000}e{number}" for number in (1, 2)]
        assert ip("link", "add", ends[0], "netns", names[0], "type", "veth", "peer", ends[1], "netns", names[1]) == 0
        for number, (name, end) in enumerate(zip(names, ends, strict=True), start=1):
            ip("-n", name, "link", "set", end, "name", "eth0")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            assert ip("-n", name, "link", "set", "eth0", "up") == 0
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "del", name)


def launch(host: str, number: int, words: list[str]) -> subprocess.Popen[str]:
    """What a user types on each host, with the flags that make up for a cable without a name server."""
    without_names = ["--rdzv-conf", f"is_host={int(number == 1)}", "--local-addr", f"10.77.0.{number}"]
    meet = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29500", "--rdzv-id", "job7", *without_names]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *torchrun, "--max-restarts", "3", *meet, "-m", "upreid", *words],
        env=os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "GLOO_SOCKET_IFNAME": "eth0"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def rank_in(process: subprocess.Popen[str]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return next(int(pid) for pid in children if b"\0RANK=" in Path(f"/proc/{pid}/environ").read_bytes())


def test_a_rank_on_another_host_is_killed_and_both_hosts_go_on_to_the_bytes_of_one_host(
    lab: Any, hosts: list[str], tmp_path: Path, assert_same: Any, undisturbed_group: Path
) -> None:
    out, deadline = tmp_path / "run", time.monotonic() + SECONDS
    group = [launch(host, number, lab.begin(out, *lab.HALVES)) for number, host in enumerate(hosts, start=1)]
    while not (out / "state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(rank_in(group[1]), signal.SIGKILL)
    words = [process.communicate(timeout=SECONDS)[1] for process in group]
    assert [process.returncode for process in group] == [0, 0], words
    assert re.search(r"resuming .* at step (5|10)", words[0])
    assert_same(out, like=undisturbed_group)
