"""What passes between a supervisor and its job process, and by which rules?"""
