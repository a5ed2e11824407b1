"""What is done to photos: pure functions on pixels, numpy and OpenCV, no files and no state."""
