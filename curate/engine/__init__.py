"""What a run is made of: the plan, its journal, and the way of a unit from source to shard."""
