"""Size and coverage of the inferences, measured through the public interface: docs/inference.md shows the result."""

import os

# One thread in each of the processes, set before numpy is imported: last bits change with the number of threads.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
