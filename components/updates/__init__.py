"""What makes the next global model?"""
