"""fill and materialize on a device type that is neither the CPU nor known to fanin."""

import subprocess
import sys
from pathlib import Path


def test_a_device_of_another_type_gets_the_bits_of_the_cpu():
    program = Path(__file__).with_name("other_device.py")
    done = subprocess.run([sys.executable, "-W", "error", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "fills, a large tensor, a model\n"
