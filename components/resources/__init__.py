"""Resource managers: what a site gives to jobs."""
