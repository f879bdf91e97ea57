"""Predict with a booster's trees by compiled code, many times as fast as the library that fitted them."""
