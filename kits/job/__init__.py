"""A job process: what runs the code of a job, at the server and at sites."""
