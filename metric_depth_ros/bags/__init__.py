"""ROS 1 and ROS 2 bags, read and written without ROS."""
