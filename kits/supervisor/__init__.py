"""What server and site share: job processes, ordered effects, travelling folders."""
