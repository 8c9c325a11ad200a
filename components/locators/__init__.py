"""What finds models for a cross-site evaluation?"""
