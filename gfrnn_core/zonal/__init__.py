"""Sampled recurrent networks for fields that close in longitude: one regression a wavenumber."""
