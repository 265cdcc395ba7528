"""Ray as membership, calls and scaling; never as the owner of work. Only the bridge and the actor import ray."""
