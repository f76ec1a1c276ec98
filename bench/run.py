#!/usr/bin/env python3
"""All measurements of docs/performance.md, one after another, each in its own process.

    run.py all      everything: the swarm on rate-limited hosts, one node against nginx, the
                    supernode's load, the simulator. Hours on a small machine.
    run.py quick    a selection of about three minutes on two cores

Each part is a program of its own with --help: swarm.py, single.py, load.py, sim.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

PARTS = {
    "all": (
        ["single.py"],
        ["sim.py", "--peers", "100", "1000", "10000"],
        ["load.py", "--daemons", "1000", "3000", "10000"],
        ["swarm.py"],
    ),
    "quick": (
        ["single.py", "--quick"],
        ["sim.py", "--peers", "100", "--conditions", "plain", "killed-10%", "two-zones"],
        ["load.py", "--daemons", "300", "--seconds", "10"],
        ["swarm.py", "--quick"],
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=PARTS)
    failed = []
    for part in PARTS[parser.parse_args().what]:
        print(f"\n## {' '.join(part)}\n", flush=True)
        if subprocess.run([sys.executable, str(Path(__file__).parent / part[0]), *part[1:]], check=False).returncode:
            failed.append(part[0])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
