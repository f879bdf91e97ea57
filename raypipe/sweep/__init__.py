"""Search for better parameters with Ray Tune."""
