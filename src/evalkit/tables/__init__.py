"""Tables: what a file becomes, its columns, units and periods."""
