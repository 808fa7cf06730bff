"""The one thing pyproject.toml cannot say: every package under src/, and the top-level configs/ as `arr_rpo.configs`."""

from setuptools import find_packages, setup

setup(packages=[*find_packages("src", include=["arr_rpo", "arr_rpo.*"]), "arr_rpo.configs", "arr_rpo.configs.report"])
