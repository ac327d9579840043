"""`python -m fdnf.evaluation.report DIR`: see `report.main`."""

import sys

from fdnf.evaluation.report import report
from fdnf.train import interruption

if __name__ == "__main__":
    interruption.watch()
    sys.exit(report.main())
