"""Only what pyproject.toml cannot say: conf/ lies at the root for people, and travels inside the package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["citycam", "citycam.*"]), "citycam.conf"],
    package_dir={"citycam.conf": "conf"},
    package_data={"citycam": ["py.typed", "report/page_assets/*"], "citycam.conf": ["*.yaml", "*/*.yaml"]},
)
