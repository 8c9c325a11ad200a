"""What does a site do with a task?"""
