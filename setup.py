"""Ships conf/, sweeps/ and results/published/ inside the package; the rest is pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = {"conf": "conf", "sweeps": "sweeps", "results/published": "published"}


class BuildWithResources(build_py):
    """Copies the shipped folders into the package; an editable install reads them in place."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            for source, name in SHIPPED.items():
                if Path(source).is_dir():
                    target = Path(self.build_lib) / "gan_bench" / name
                    shutil.rmtree(target, ignore_errors=True)
                    shutil.copytree(source, target)


setup(cmdclass={"build_py": BuildWithResources})
