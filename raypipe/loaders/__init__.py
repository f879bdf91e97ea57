"""Load features into a notebook and save its predictions."""
