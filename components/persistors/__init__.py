"""What converts between a framework's model file and a Shareable?"""
