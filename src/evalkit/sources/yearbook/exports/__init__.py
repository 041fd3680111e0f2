"""Exports that people download, one module a form; each tells its own by the words of the header, or leaves the page alone."""
