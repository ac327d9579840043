"""The command, run in this process: starting another takes seconds."""

import sys

from absl import flags
from absl.testing import flagsaver

from fdnf import main


def run(*arguments: str) -> int:
    """Exit status of `python -m fdnf.main` with these arguments."""
    # The next config file would be run in the module of the last.
    sys.modules.pop("config_config", None)
    with flagsaver.flagsaver():
        try:
            return main.main(main.parse_flags(["fdnf", *arguments]))
        except SystemExit as stopped:
            return stopped.code
        finally:
            flags.FLAGS.unparse_flags()
