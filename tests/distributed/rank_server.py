"""A process that has imported everything, and forks ranks: `python rank_server.py ADDRESS`, then lines "WORLD STORE".

Each rank makes a gloo process group of WORLD ranks at once, then gets (job, arguments) over its connection, calls the
function of that name in rank_jobs.py, rank_faults.py, rank_loads.py or rank_sizes.py, and sends back ("done", result)
or ("raised", type, message), until the other side hangs up. A group is never made twice in one process: torch caches
meshes of the old one.
"""

from __future__ import annotations

import os
import signal
import sys
from multiprocessing.connection import Client, Connection

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")


def serve(rank: int, connection: Connection) -> None:
    """Do jobs until the other side hangs up."""
    import rank_faults
    import rank_jobs
    import rank_loads
    import rank_sizes

    connection.send(rank)
    while True:
        try:
            job, arguments = connection.recv()
        except EOFError:
            return
        try:
            files = (rank_jobs, rank_faults, rank_loads, rank_sizes)
            found = next(getattr(file, job) for file in files if hasattr(file, job))
            answer = ("done", found(*arguments))
        except Exception as error:
            notes = getattr(error, "__notes__", [])
            answer = ("raised", type(error).__name__, "\n".join([str(error), *notes]))
        connection.send(answer)


def main(address: str) -> None:
    """Import once, then fork ranks as they are asked for."""
    import rank_jobs

    rank_jobs.prepare()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the ranks
    for line in sys.stdin:
        world, store = line.split()
        for rank in range(int(world)):
            if os.fork() == 0:
                rank_jobs.join(rank, int(world), store)
                serve(rank, Client(address, "AF_UNIX"))
                os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
