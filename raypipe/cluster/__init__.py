"""Start and reach Ray: sessions, and commands as jobs of a cluster."""
