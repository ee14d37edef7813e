"""Can a network tell my city from the others, and by what?"""
