"""Run folders -> records -> comparisons -> a report. It reads files only: no trainer, no model, no Hydra."""
