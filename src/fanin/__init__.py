"""fanin: every number in the model, accounted for before step one.

The public names stand in `__init__.pyi`; each is loaded on first use, so that `import fanin` stays cheap.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # pyright: ignore
