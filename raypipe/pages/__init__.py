"""Build HTML pages that need no server: markup, figures in words, charts as SVG, one style for all."""
