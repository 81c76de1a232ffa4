"""Task queue, the working half: take one task at a time, acknowledge it when it is done.

Start several: tasks go to whoever is free, and a killed worker's task goes to another.

    python worker.py [--count N] [--speed FACTOR]
"""

import argparse
import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, help="stop after this many tasks")
parser.add_argument("--speed", type=float, default=1.0, help="work this many times faster")
args = parser.parse_args()
remaining = args.count


def on_task(channel, method, _properties, body):
    global remaining
    task = body.decode()
    print(f"working on {task!r}", flush=True)
    # Not time.sleep: the connection must keep answering heartbeats meanwhile.
    channel.connection.sleep(task.count(".") / args.speed)
    channel.basic_ack(method.delivery_tag)
    print("done", flush=True)
    if remaining is not None:
        remaining -= 1
        if remaining == 0:
            channel.stop_consuming()


with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.queue_declare("task_queue", durable=True)
    # No second task before the first is acknowledged.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume("task_queue", on_task)
    print("waiting for tasks, CTRL+C ends", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        pass
