"""Checkpoints of many files, written straight from a plan, by one process or by several.

`write(plan, folder, seed)` does all. Several processes, on one host or many with one file system, share the work like
this, with the same plan, seed, dtype and shard size everywhere:

    write(plan, folder, seed, rank=rank, world=world)      # every rank: its own files, no index
    barrier()                                              # the caller's: all ranks have returned
    if rank == 0:
        finish(plan, folder, seed)                         # checks all files, then writes the index

What one rank wrote with another plan or seed is found by `finish`, which then writes no index. A rank that died is
started again with the same arguments; finished files are kept. World may differ from call to call.

For other formats: `layout_of` says which file holds what and where, `Values.of(plan, seed, threads)` gives a `Source`
for each tensor (`source(name).read(out, first)` writes elements first, first + 1, … into the flat tensor `out`, of any
floating dtype), and `rectangles` turns a run of elements into regions.
"""

from fanin.checkpoints.flat import rectangles as rectangles
from fanin.checkpoints.layout import Layout as Layout
from fanin.checkpoints.layout import layout_of as layout_of
from fanin.checkpoints.ranks import Ranks as Ranks
from fanin.checkpoints.ranks import joined as joined
from fanin.checkpoints.sizes import size_in_bytes as size_in_bytes
from fanin.checkpoints.together import Order as Order
from fanin.checkpoints.together import write_dcp_folder as write_dcp_folder
from fanin.checkpoints.together import write_file as write_file
from fanin.checkpoints.together import write_folder as write_folder
from fanin.checkpoints.transformers_files import config_files as config_files
from fanin.checkpoints.values import Values as Values
from fanin.checkpoints.write import Written as Written
from fanin.checkpoints.write import finish as finish
from fanin.checkpoints.write import write as write
