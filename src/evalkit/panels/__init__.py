"""Panels: tables joined into one row per unit and period, with columns derived from others."""
