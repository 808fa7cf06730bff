"""The config of report.py, in a package of its own: see report.yaml."""
