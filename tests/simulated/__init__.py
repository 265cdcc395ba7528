"""The whole runtime on virtual time, with everything that can go wrong, seed by seed."""
