"""Building blocks of networks, with no paper's name and no knowledge of cameras or files."""
