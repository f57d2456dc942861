"""Access to storage: file systems, the output folder, shards and the files of a data set."""
