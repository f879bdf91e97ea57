"""Show what raypipe did: a folder of static pages, published rows by name, and objects in a notebook."""
