"""Results: the nouns that an evaluation ends in, from a fit to the evidence of a study."""
