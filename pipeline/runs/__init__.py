"""Run folders: their stages, their record, and what changes a finished run."""
