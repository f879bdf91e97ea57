"""Learn, publish and watch the policy that picks an ad per context."""
