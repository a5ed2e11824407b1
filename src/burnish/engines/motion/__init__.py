"""What frames tell of one another: pure functions from frames to frames, on numpy and OpenCV."""
