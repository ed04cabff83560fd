"""Runs steps as processes of their own, and takes the time they report and the peak memory that the system saw."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Figures:
    """Seconds and peak MB of a step, one of each round."""

    seconds: list[float] = field(default_factory=list[float])
    megabytes: list[float] = field(default_factory=list[float])

    @property
    def time(self) -> float:
        return statistics.median(self.seconds)

    @property
    def memory(self) -> float:
        return statistics.median(self.megabytes)


def run(
    command: Sequence[str], environment: Mapping[str, str], expected: Sequence[int] = (0,)
) -> tuple[float, float, str]:
    """Wall seconds, peak resident MB, and standard output of a process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expected:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {output[-2000:]}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024, output


def step(name: str, environment: Mapping[str, str], steps: str = "bench.web_steps") -> tuple[float, float]:
    """A step of a module of steps: the seconds that it reports of its work alone, and its peak MB."""
    _, megabytes, output = run([sys.executable, "-W", "ignore", "-m", steps, name], environment)
    return json.loads(output.splitlines()[-1])["seconds"], megabytes


def interleaved(rounds: int, steps: Mapping[str, Callable[[], tuple[float, float]]]) -> dict[str, Figures]:
    """Each step once a round, so that a slow minute of the machine hits all of them."""
    figures = {name: Figures() for name in steps}
    for number in range(rounds):
        for name, work in steps.items():
            seconds, megabytes = work()
            figures[name].seconds.append(seconds)
            figures[name].megabytes.append(megabytes)
            print(f"  round {number + 1}: {name:<28} {seconds:8.2f} s {megabytes:7.0f} MB", file=sys.stderr)
    return figures
