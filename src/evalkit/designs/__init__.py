"""Designs: the identification argument, when units adopt, and the rows that a design draws from a panel."""
