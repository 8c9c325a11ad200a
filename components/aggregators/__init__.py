"""What makes one Shareable of the sites' results?"""
