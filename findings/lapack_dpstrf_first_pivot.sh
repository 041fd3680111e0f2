#!/usr/bin/env bash
# scipy 1.17.1 (LAPACK's DPSTRF, pivoted Cholesky): the tolerance is documented as the pivot at which the algorithm stops, and so is read as
# a test of rank; the first pivot is held against 0 only. A matrix of rounding (1e-20 on its diagonal) has rank 1 at a tolerance of
# 1e-10; put beside one entry of 1 it has none. A count of absorbed fixed effects that are redundant comes out one too high that way, and with
# it the small-sample factor of clustered errors. Remedy: test the largest diagonal element before the call.
# Seen 2026-11-30: ranks 1 and 1. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet "scipy==1.17.1" "numpy==2.4.6"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
from scipy.linalg import lapack

ranks = [int(lapack.dpstrf(A, lower=1, tol=1e-10)[2]) for A in (1e-20 * np.eye(3), np.diag([1.0, 1e-20, 1e-20]))]
print(f"rank of 1e-20 times the identity: {ranks[0]}; of diag(1, 1e-20, 1e-20): {ranks[1]}; tolerance 1e-10")
assert ranks == [1, 1], "the first pivot is held against the tolerance now"
PYTHON
