"""What can a site give to jobs?"""
