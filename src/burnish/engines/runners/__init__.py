"""Runners: what each model does to raw pixels. One file each, loaded in the inference child only."""
