"""Reassignment: who could have adopted when, and effects under other assignments; one engine for inference and checks."""
