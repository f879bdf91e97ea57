"""raypipe's commands as jobs of a Ray cluster that is reached over HTTP."""
