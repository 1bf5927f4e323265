"""Run a command and write what it took: `measured.py USAGE.json COMMAND ...`

A process of its own that imports next to nothing, because the kernel counts a
command's peak memory from the peak of the process that starts it.
"""

import json
import os
import sys
import time


def main(path: str, *command: str) -> int:
    """path: gets the seconds on the clock and of processors, and the peak in MB.

    RETURNS: the exit status of the command, 128 + N if signal N ended it.
    """
    started = time.perf_counter()
    pid = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    unit = 2**10 if sys.platform == "linux" else 2**20  # of ru_maxrss in a MB
    taken = {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / unit, 1),
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(taken, file)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
