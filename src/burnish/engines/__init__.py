"""What does the work: the catalogue of models, the promise that workers call, and the children that keep it."""
