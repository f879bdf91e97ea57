"""Compare earlier predictions with what happened later."""
