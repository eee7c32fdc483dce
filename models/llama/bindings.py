"""The C interface of llama.cpp, without the rest of llama-cpp-python.

The package imports its high-level class with all chat formats first, which takes longer than loading the student.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import llama_cpp as llama_cpp


def _c_interface() -> ModuleType:
    """Return the module of the package that declares the C functions."""
    spec = find_spec("llama_cpp")
    if spec is None or "llama_cpp" in sys.modules:
        return import_module("llama_cpp.llama_cpp")
    # The package itself is not executed: an empty module replaces it while its submodule is imported.
    sys.modules["llama_cpp"] = module_from_spec(spec)
    try:
        return import_module("llama_cpp.llama_cpp")
    finally:
        # A later import of the package gets all of it.
        del sys.modules["llama_cpp"]


if not TYPE_CHECKING:
    llama_cpp = _c_interface()
