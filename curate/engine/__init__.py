"""The parts of a run: its plan, its journal, the workers, and the stages of a unit from source to shard."""
