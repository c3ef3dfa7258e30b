"""One end of an exchange of large clouds, a process of its own: `cloud_exchange.py send|receive`.

Prints one JSON object: the digests of the clouds in order, and the sizes of the shared-memory
segments of Fast DDS that this process has mapped.
"""

from __future__ import annotations

import array
import hashlib
import json
import random
import sys
import time
from pathlib import Path

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2

COUNT = 8
BYTES = 640 * 480 * 20  # x y z rgb std
DEADLINE_S = 30.0
QOS = QoSProfile(depth=COUNT)  # reliable


def segments() -> list[int]:
    """Bytes of each shared-memory segment that Fast DDS has mapped into this process."""
    sizes = []
    for line in Path('/proc/self/maps').read_text().splitlines():
        if '/dev/shm/fastdds_' in line:
            start, end = (int(address, 16) for address in line.split()[0].split('-'))
            sizes.append(end - start)
    return sizes


def send(node: Node) -> list[str]:
    publisher = node.create_publisher(PointCloud2, 'cloud', QOS)
    clouds = [array.array('B', random.Random(seed).randbytes(BYTES)) for seed in range(COUNT)]
    while publisher.get_subscription_count() == 0:
        time.sleep(0.02)
    for cloud in clouds:
        message = PointCloud2(height=480, width=640, point_step=20, row_step=640 * 20)
        message.data = cloud
        publisher.publish(message)
    if not publisher.wait_for_all_acked(Duration(seconds=DEADLINE_S)):
        sys.exit('not every cloud was acknowledged')
    return [hashlib.sha256(cloud).hexdigest() for cloud in clouds]


def receive(node: Node) -> list[str]:
    received: list[str] = []

    def take(message: PointCloud2) -> None:
        received.append(hashlib.sha256(message.data).hexdigest())

    node.create_subscription(PointCloud2, 'cloud', take, QOS)
    deadline = time.monotonic() + DEADLINE_S
    while len(received) < COUNT and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.1)
    return received


def main() -> None:
    role = {'send': send, 'receive': receive}[sys.argv[1]]
    rclpy.init()
    node = rclpy.create_node(f'cloud_{sys.argv[1]}')
    digests = role(node)
    print(json.dumps({'digests': digests, 'segments': segments()}))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == '__main__':
    main()
