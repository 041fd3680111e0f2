"""Study: an evaluation as data; reading, explaining and running it."""
