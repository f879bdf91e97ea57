"""Model families: what can be fitted, stored without code, and scored."""
