"""Small models that can be parametrized, importable by the tests of this folder as `small_parametrized`."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_spec = spec_from_file_location("small_parametrized", Path(__file__).with_name("small_parametrized.py"))
_module = sys.modules["small_parametrized"] = module_from_spec(_spec)
_spec.loader.exec_module(_module)
