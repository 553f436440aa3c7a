"""Settings of Sphinx: ``make docs`` builds the site, and runs the code of its pages."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import alignsolve  # noqa: E402

project = "alignsolve"
author = copyright = "the alignsolve developers"
version = release = alignsolve.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "jupyter_execute"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"alignsolve {release}"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autosummary_generate = True
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

# Every page runs in a process and a folder of its own, with the commands of this environment.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 240
nb_execution_in_temp = True
nb_merge_streams = True
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), str(ROOT / "examples" / "own_model"), os.environ.get("PYTHONPATH", "")]
)
logging.getLogger("traitlets").setLevel(logging.WARNING)
# Its kernels would warn of connections that never leave this machine.
os.environ["IPYTHONDIR"] = tempfile.mkdtemp(prefix="alignsolve-docs-")
_profile = Path(os.environ["IPYTHONDIR"]) / "profile_default"
_profile.mkdir()
(_profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 'ERROR'\n")
