"""Yearbook: the tables of a statistical yearbook."""
