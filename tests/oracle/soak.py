"""Many stories on all processors: `python -m tests.oracle.soak --seeds 1000`. Prints the figures, and each story that broke a promise."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections import Counter

from .story import Account, told

TIMES_TOLD = 50
"""How often is said how far it is."""


def main() -> int:
    """Run the stories; the answer is the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many stories")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once")
    options = parser.parse_args()
    began, accounts = time.monotonic(), []
    seeds = range(options.first, options.first + options.seeds)
    with multiprocessing.get_context("spawn").Pool(options.jobs, _quiet, maxtasksperchild=50) as pool:
        for account in pool.imap_unordered(told, seeds):
            accounts.append(account)
            if account.violations:
                _say(f"{account}\n")
            if len(accounts) % max(1, len(seeds) // TIMES_TOLD) == 0:
                sys.stderr.write(f"{progress(accounts, len(seeds), time.monotonic() - began)}\n")
    _say(figures(accounts, time.monotonic() - began))
    return int(any(account.violations for account in accounts))


def progress(accounts: list[Account], wanted: int, seconds: float) -> str:
    """How far it is after so many seconds: the stories told, the broken ones, and how long the others may take."""
    broken = sum(bool(account.violations) for account in accounts)
    left = seconds / len(accounts) * (wanted - len(accounts))
    return f"{len(accounts)} of {wanted} stories told, {broken} broken, about {left:.0f} s left"


def figures(accounts: list[Account], seconds: float) -> str:
    """The sums over all stories."""
    total: Counter[str] = Counter()
    for account in accounts:
        total.update(account.figures)
    lines = [f"{name:>24}  {count}" for name, count in sorted(total.items())]
    broken = sorted(account.seed for account in accounts if account.violations)
    lines += [f"{'stories':>24}  {len(accounts)}", f"{'seconds':>24}  {seconds:.0f}"]
    lines += [f"{'slowest story':>24}  {max((one.seconds for one in accounts), default=0.0):.1f} s"]
    lines += [
        f"{'broken promises':>24}  {sum(len(one.violations) for one in accounts)}",
        f"{'in seeds':>24}  {broken or 'none'}",
    ]
    return "\n".join(lines)


def _quiet() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("basetracker").propagate = False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
