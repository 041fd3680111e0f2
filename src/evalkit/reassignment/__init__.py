"""Reassignment: effects under other assignments of adoption; the one engine of permutations, below inference and checks.

The way through: `assignments` says who could have adopted when; `refits` estimates anew under one such assignment; `sums` gives
the same from sums by cluster, for the regressions where that can be done, `at_once` for weights of donors, which it makes
together; `cost` says beforehand what all will take; `effects` puts these together, and is what `inference.Permutation` and the
checks `PlaceboAssignment`, `PlaceboAdoption` and `PreTrends` ask.
"""
