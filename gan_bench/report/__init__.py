"""From a study directory to tables, figures and a page that a person reads from top to bottom."""

from gan_bench.report.frames import compare_cells
from gan_bench.report.html import write_report

__all__ = ["compare_cells", "write_report"]
