"""What changes data on their way?"""
