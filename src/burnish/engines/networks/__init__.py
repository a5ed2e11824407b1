"""Networks: weight files to graphs, and pictures to tiles. Loaded in the inference child only."""
