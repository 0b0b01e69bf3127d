"""Scheduler, driver and workers inside one allocation of a batch system."""
