"""Begins another program under bounds: run as a program of its own, `launch.py MEMORY FILE PROGRAM [ARGUMENT…]`.

The bounds hold before the other program begins, so that there is no moment without them and no number of a process that may be
another's by then. Knows nothing of the rest of basetracker: it runs without the packages of the installation. Used by `bounds`.
"""

import os
import sys

OPEN_FILES = 4096
NOT_BEGUN = 126
"""The exit code when the other program can't be begun, as a shell has it."""


def main(words: list[str]) -> None:
    """Become the program under the bounds; `MEMORY` and `FILE` are bytes, the latter of the largest file that it may write.

    0 bounds no file: some of what Trivy can't write it leaves out without a word.
    """
    import resource  # there is none on some systems, where nobody calls this

    memory, file, *command = words
    wanted = (
        # Of what is private and can be written: neither what Go reserves nor a database that is mapped counts as memory.
        (resource.RLIMIT_DATA, int(memory)),
        (resource.RLIMIT_FSIZE, int(file) or resource.RLIM_INFINITY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    )
    for kind, most in wanted:
        there = resource.getrlimit(kind)[1]
        bound = min((one for one in (most, there) if one != resource.RLIM_INFINITY), default=resource.RLIM_INFINITY)
        resource.setrlimit(kind, (bound, bound))
    try:
        os.execv(command[0], command)  # noqa: S606  no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(NOT_BEGUN)


if __name__ == "__main__":
    main(sys.argv[1:])
