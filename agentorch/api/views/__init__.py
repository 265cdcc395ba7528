"""Documents built from one state. Every function here is synchronous: the loop changes the state at the next await."""
