"""Files to pixels and pixels to files. Loaded in codec children only, where a bad file hurts nothing else."""
