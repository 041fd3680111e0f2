"""Volumes: many files read as one, each by itself, and what they print joined to series."""
