"""Arrays in, small frozen values out; NumPy and SciPy only."""
